// Which pods of a drained node still need names: neither a DaemonSet's nor a mirror, not finished, and not stuck for a
// minute past their deletion. metadata.deletionTimestamp is when a pod's grace ends, by the API server's clock. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "agent/base/time.h"
#include "agent/kube/pod.h"

namespace lastlight {

inline constexpr Duration kStuckPod = std::chrono::seconds(60);

// `pods`: all of the node, as they were at `now` by the API server's clock; without it nobody is stuck.
std::size_t pods_left(std::span<const kube::Pod> pods, std::optional<WallTime> now);

}  // namespace lastlight
