#include "agent/pods_left.h"

#include <algorithm>

#include "interrupt/timestamp.h"

namespace lastlight {

namespace {

bool is_stuck(const kube::Pod& pod, std::optional<WallTime> now) {
  if (!pod.terminating || !now) return false;
  const auto deleted = interrupt::parse_rfc3339(pod.deletion_timestamp);
  return deleted && *now >= *deleted + kStuckPod;
}

}  // namespace

std::size_t pods_left(std::span<const kube::Pod> pods, std::optional<WallTime> now) {
  return static_cast<std::size_t>(std::ranges::count_if(pods, [&](const kube::Pod& pod) {
    return !pod.mirror && pod.controller_kind != "DaemonSet" && !pod.finished() && !is_stuck(pod, now);
  }));
}

}  // namespace lastlight
