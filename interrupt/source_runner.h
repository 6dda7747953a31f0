// The shell of a source: its timer and its requests over one metadata client. Every decision is the source's.
#pragma once

#include <array>
#include <functional>
#include <memory>

#include "agent/io/http_client.h"
#include "agent/io/timer.h"
#include "interrupt/sources/source.h"

namespace lastlight::interrupt {

class SourceRunner {
 public:
  using OnEvent = std::move_only_function<void(const SourceEvent&)>;
  using OnDiagnosis = std::move_only_function<void(Diagnosis)>;  // once per change

  // `client` outlives it. Callbacks come from the loop, never from the constructor.
  SourceRunner(io::Loop& loop, io::HttpClient& client, std::unique_ptr<Source> source, OnEvent on_event,
               OnDiagnosis on_diagnosis);
  ~SourceRunner();

  const Source& source() const { return *source_; }
  void may_start(std::string_view id);

 private:
  void ask();
  void on_reply(unsigned lane, const HttpReply& reply, Instant sent);

  io::Loop& loop_;
  io::HttpClient& client_;
  std::unique_ptr<Source> source_;
  OnEvent on_event_;
  OnDiagnosis on_diagnosis_;
  Diagnosis diagnosis_ = Diagnosis::None;
  std::array<io::HttpClient::RequestId, Source::kLanes> in_flight_{};
  io::Timer timer_;
};

}  // namespace lastlight::interrupt
