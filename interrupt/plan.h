// Which pods go, when and with which grace: pure arithmetic over one pod, the deadline and the policy, recomputed at
// will. Two instants of a pod: its eviction, as soon as its order allows, and D, when a deletion takes the place of an
// eviction that a budget still refuses.
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

// The order of `order: staged`. The pod annotation lastlight.io/drain-order ("1" to "4") moves a pod to another tier.
enum class Tier {
  Balanced =
      1,     // behind a load balancer with IP targets (by its readiness gate): its rotation ends by terminating only
  Stateful,  // of a StatefulSet: volumes detach after the pod has ended
  Rest,
  Critical,  // priority system-cluster-critical and above: names and storage, for those before
};

Tier tier_of(const kube::Pod& pod);

// The grace to ask for now: the pod's own, shortened to what is left before the margin, never below 1 s, because 0 is a
// kill. What is left is rounded to the nearest second: a request sent some milliseconds after its planned instant keeps
// the planned grace, and the margin absorbs the half second.
std::chrono::seconds grace_at(const kube::Pod& pod, const Window& window, const DrainConfig& policy, Instant now);

// D: until then a budget that refuses is respected; then the pod is deleted, with its full grace when that fits.
Instant delete_at(const kube::Pod& pod, const Window& window, const DrainConfig& policy);

// When its first eviction is due. `turn`: no pod of an earlier tier is still there. A pod out of turn, or one that asks
// not to be disrupted, waits; but not longer than to a second before D, so that it is evicted and not deleted.
Instant evict_at(const kube::Pod& pod, const Window& window, const DrainConfig& policy, bool turn);

}  // namespace lastlight::interrupt
