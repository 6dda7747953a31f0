// May we do what a drain needs? Asked at start and each hour, so that a missing right is known before the notice: a
// dry-run of the cordon, which passes admission as the real one will, and an access review for every other call. Pure:
// it returns the next request and reads its reply. Between two checks the agent asks the API server nothing.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/backoff.h"
#include "agent/base/http.h"
#include "agent/kube/node.h"

namespace lastlight::interrupt {

class SelfCheck {
 public:
  static constexpr auto kEvery = std::chrono::hours(1);

  // None before wake(), or while a reply is awaited.
  std::optional<HttpRequest> next(const kube::Server& server, std::string_view node, Instant now);
  Instant wake() const { return in_flight_ ? kNever : at_; }
  // The node as the dry run has it: with the annotation of before, which the caller may have left there.
  std::optional<kube::Node> on_reply(const HttpReply& reply, Instant now, double uniform);

  // Of the last whole check: what is missing, each as "patch nodes: 403 forbidden"; empty and `finished`: all is well.
  const std::vector<std::string>& missing() const { return missing_; }
  std::optional<Instant> finished() const { return finished_; }
  bool took_turn() const { return step_ == 0; }  // the last reply ended a check

 private:
  std::size_t step_ = 0;
  bool in_flight_ = false;
  unsigned failures_ = 0;
  Instant at_{};
  std::vector<std::string> found_;
  std::vector<std::string> missing_;
  std::optional<Instant> finished_;
};

}  // namespace lastlight::interrupt
