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
  std::string phase;
  bool mirror = false;  // a static pod's reflection: deleting it stops nothing
  std::int64_t grace_seconds = 30;
  bool terminating = false;  // metadata.deletionTimestamp is present
  std::int64_t deletion_grace_seconds = 0;
  std::int64_t priority = 0;
  std::vector<std::string> readiness_gates;

  bool finished() const { return phase == "Succeeded" || phase == "Failed"; }
};

// nullopt when namespace, name or UID is missing: such an object is no pod we could act on.
std::optional<Pod> read_pod(const Json& json);

}  // namespace lastlight::kube
