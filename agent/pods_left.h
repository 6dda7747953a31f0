// Which pods of a drained node still need names: neither a DaemonSet's nor a mirror, not finished, and not stuck for a
// minute past their deletion. Pure; remembers when it first saw each pod terminating (at most what a node can hold).
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "agent/base/time.h"
#include "agent/kube/pod.h"

namespace lastlight {

class PodsLeft {
 public:
  static constexpr Duration kStuck = std::chrono::seconds(60);

  // `pods`: all of the node, as they are now.
  std::size_t count(std::span<const kube::Pod> pods, Instant now);

 private:
  std::map<std::string, Instant> stuck_at_;  // by UID; replaced by every count
};

}  // namespace lastlight
