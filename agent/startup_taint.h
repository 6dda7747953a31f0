// The start-up taint of our node, which whoever makes nodes puts there: removed once names are answered here end to
// end, so that no pod starts before its DNS. The order is always the same: a name that only the upstream can answer is
// asked of our own socket, then the Node is read, then what it has of our key is removed by a JSON Patch that names an
// index and tests what is there (RFC 6902). What fails is begun again with the question. Pure: says what to do next and
// is told what became of it; at most one thing is under way. Touches no other taint, and never puts one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "agent/base/http.h"
#include "agent/base/time.h"
#include "agent/kube/node.h"

namespace lastlight {

class StartupTaint {
 public:
  enum class Step {
    Ask,  // the question
    Read,
    Remove,
    Done,
  };
  struct Told {
    enum class What {
      Removed,
      Absent,  // there was none
      Failed,  // tried again; told once per reason
    };
    What what;
    std::string text;
  };

  StartupTaint(std::string node, std::string key) : node_(std::move(node)), key_(std::move(key)) {}

  Step step() const { return step_; }
  // When the step is to be taken: kNever while one is under way or nothing is left to do.
  Instant due() const { return under_way_ || step_ == Step::Done ? kNever : due_; }
  // It is being taken. `request`: of Read and Remove.
  void begin() { under_way_ = true; }
  HttpRequest request(const kube::Server& server) const;

  // What the question got: an RCODE, or nothing in time.
  std::optional<Told> on_answer(std::optional<std::uint16_t> rcode, Instant now);
  std::optional<Told> on_reply(const HttpReply& reply, Instant now, double uniform);

  static constexpr Duration kAgain = std::chrono::milliseconds(500);  // after a question without its upstream's answer
  static constexpr Duration kRetryMin = std::chrono::milliseconds(500);
  static constexpr Duration kRetryMax = std::chrono::seconds(30);

 private:
  void go(Step step, Instant due);
  std::optional<Told> failed(std::string why);

  const std::string node_;
  const std::string key_;
  Step step_ = Step::Ask;
  bool under_way_ = false;
  Instant due_{};
  kube::Node seen_;
  unsigned failures_ = 0;  // of requests, in a row
  std::string last_failure_;
};

}  // namespace lastlight
