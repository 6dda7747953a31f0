// What is done about the notices that stand: each has a treatment, by its code, else by its kind, and the stance
// follows from all of them together. Pure; it owns which notices stand, never sends anything, and undoing is nothing
// but a weaker stance. At most kMax notices; one above that is refused and counted.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "agent/config.h"
#include "agent/kube/node.h"
#include "interrupt/notice.h"

namespace lastlight::interrupt {

// A mark on the node without a drain. It expires, because some advice is never withdrawn.
struct Marking {
  Notice notice;
  kube::Mark mark = kube::Mark::Cordon;
  Instant until{};
};

struct Stance {
  std::optional<Notice> drain;    // what to drain for now: of several the one that ends first; it has a deadline
  std::optional<Marking> mark;    // else what to mark the node for
  std::optional<Notice> nearest;  // what to tell: what is drained for, else the first to end of those that stand
  Instant wake = kNever;          // ask again then
};

struct PolicyCounters {
  std::array<std::uint64_t, kNoticeKinds> notices{};  // new ones, by kind
  std::uint64_t ignored = 0;
  std::uint64_t limited = 0;  // rebalance recommendations that were only told of: too young a node, or too many
  std::uint64_t over_bound = 0;
};

class Policy {
 public:
  static constexpr std::size_t kMax = 64;

  explicit Policy(const PolicyConfig& config) : config_(config) {}

  // A new notice, or news of one that stands. What will be done about it.
  Treatment on_notice(const Notice& notice, Instant now);
  void on_withdrawn(std::string_view id);
  Stance decide(Instant now) const;

  bool standing(std::string_view id) const;
  const PolicyCounters& counters() const { return counters_; }

 private:
  struct Standing {
    Notice notice;
    Treatment treatment;
  };
  Treatment treatment_of(const Notice& notice) const;
  bool limited(Instant now);
  void consider_mark(Stance& stance, const Standing& each, Instant now) const;

  const PolicyConfig config_;
  std::vector<Standing> standing_;
  std::optional<Instant> rebalanced_;
  PolicyCounters counters_;
};

// "drain-at": as the configuration spells it.
std::string_view treatment_name(Treatment treatment);

}  // namespace lastlight::interrupt
