// What a drain needs to know of a pod, read from its JSON; the rest of the object is not kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/json.h"

namespace lastlight::kube {

struct Pod {
  std::string namespace_name;
  std::string name;
  std::string uid;
  std::string controller_kind;  // kind and name of the owner with controller: true; empty for a bare pod
  std::string controller_name;
  std::string controller_uid;
  std::string phase;
  std::string reason;   // status.reason: who ended it, "Terminated" for the kubelet's graceful shutdown
  bool mirror = false;  // a static pod's reflection: deleting it stops nothing
  std::int64_t grace_seconds = 30;
  bool terminating = false;  // metadata.deletionTimestamp is present
  std::int64_t deletion_grace_seconds = 0;
  std::string deletion_timestamp;  // RFC 3339: when its grace ends
  std::int64_t priority = 0;
  std::vector<std::string> readiness_gates;
  std::vector<std::string> addresses;
  std::string order;              // our annotation lastlight.io/drain-order
  bool do_not_disrupt = false;    // an annotation of karpenter's or of the cluster autoscaler's
  bool tolerates_cordon = false;  // so its successor may come back to a cordoned node
  bool pre_stop = false;          // a hook runs before SIGTERM, within the grace
  bool sidecars = false;          // KEP-753: they get SIGTERM only after the others have ended

  bool finished() const { return phase == "Succeeded" || phase == "Failed"; }
};

// nullopt when namespace, name or UID is missing: such an object is no pod we could act on.
std::optional<Pod> read_pod(const Json& json);

}  // namespace lastlight::kube
