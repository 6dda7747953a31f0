// Which pods go, and when each must: pure arithmetic over one pod, the deadline and the policy, recomputed at will.
#pragma once

#include <chrono>

#include "agent/base/time.h"
#include "agent/config.h"
#include "agent/kube/pod.h"

namespace lastlight::interrupt {

enum class Choice {
  Evict,
  Told,            // terminates already: a second request would cut its grace
  StaysDaemonSet,  // its controller puts it back at once, and applications need it to the end
  StaysMirror,     // a static pod belongs to the kubelet
  StaysFinished,   // Jobs and workflow engines read its end
};

Choice choose(const kube::Pod& pod);

struct Window {
  Instant noticed;
  Instant deadline;
};

// The grace to ask for now: the pod's own, shortened to what is left before the margin, never below 1 s, because 0 is a
// kill. What is left is rounded to the nearest second: a request sent some milliseconds after its planned instant keeps
// the planned grace, and the margin absorbs the half second.
std::chrono::seconds grace_at(const kube::Pod& pod, const Window& window, const DrainConfig& policy, Instant now);

// D: until then a budget that refuses is respected; then the pod is deleted, with its full grace when that fits.
Instant delete_at(const kube::Pod& pod, const Window& window, const DrainConfig& policy);

}  // namespace lastlight::interrupt
