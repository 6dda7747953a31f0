#include "agent/pods_left.h"

#include <utility>

namespace lastlight {

std::size_t PodsLeft::count(std::span<const kube::Pod> pods, Instant now) {
  const std::map<std::string, Instant> before = std::exchange(stuck_at_, {});
  std::size_t left = 0;
  for (const kube::Pod& pod : pods) {
    if (pod.mirror || pod.controller_kind == "DaemonSet" || pod.finished()) continue;
    if (pod.terminating) {
      const auto seen = before.find(pod.uid);
      const Instant stuck =
          seen != before.end() ? seen->second : now + std::chrono::seconds(pod.deletion_grace_seconds) + kStuck;
      stuck_at_.emplace(pod.uid, stuck);
      if (now >= stuck) continue;
    }
    ++left;
  }
  return left;
}

}  // namespace lastlight
