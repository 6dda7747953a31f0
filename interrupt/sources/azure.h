// Azure's Scheduled Events (api-version 2020-07-01) as a state machine: asked each `poll`, believed only when an
// event's Resources name this machine, whose name the instance metadata gives. The first call enables the service and
// may take two minutes to answer, so one request waits for it on the second lane while the first goes on asking. Where
// that is configured it acknowledges (StartRequests) an event that names no other machine, once may_start() says so.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/config.h"
#include "interrupt/sources/reading.h"

namespace lastlight::interrupt {

class AzureSource final : public Source {
 public:
  AzureSource(const InterruptionConfig& config, Uniform uniform);

  std::string_view name() const override { return "azure"; }
  SourceStep next(Instant now) override;
  SourceEvents on_reply(unsigned lane, const HttpReply& reply, Instant sent, Instant now) override;
  void may_start(std::string_view id) override;

 private:
  static constexpr unsigned kPollLane = 0;
  static constexpr unsigned kSideLane = 1;
  static constexpr std::size_t kMaxAlone = Announced::kMax;
  enum class Side { FirstCall, Acknowledge };

  struct Event;  // as the document has it

  HttpRequest request(std::string path) const;
  void ask_side(SourceStep& step, Instant now);
  bool read_name(const HttpReply& reply);
  bool read_events(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out);
  std::optional<Announced::Present> read_event(const Event& event, const HttpReply& reply, Instant sent);
  void on_side(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out);
  void succeeded(Instant now);
  void failed(const HttpReply& reply, Instant now);

  const InterruptionConfig config_;
  Uniform uniform_;
  const std::string endpoint_;
  Lane poll_lane_{config_, uniform_};
  Lane side_lane_{config_, uniform_};
  std::string own_name_;     // empty: not known yet
  bool await_name_ = false;  // the poll lane's request asks for it
  Side side_ = Side::FirstCall;
  bool first_call_ = false;  // was sent
  bool warm_ = false;        // Scheduled Events has answered once
  Announced announced_;
  std::vector<std::string> alone_;        // ids of events that name no other machine, at most kMaxAlone
  std::vector<std::string> acknowledge_;  // ids to acknowledge, at most kMaxAlone
};

}  // namespace lastlight::interrupt
