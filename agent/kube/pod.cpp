#include "agent/kube/pod.h"

namespace lastlight::kube {

std::optional<Pod> read_pod(const Json& json) {
  Pod pod;
  pod.namespace_name = string_at(json, "metadata", "namespace");
  pod.name = string_at(json, "metadata", "name");
  pod.uid = string_at(json, "metadata", "uid");
  if (pod.namespace_name.empty() || pod.name.empty() || pod.uid.empty()) return std::nullopt;

  for (const Json& owner : array_at(json, "metadata", "ownerReferences")) {
    if (!bool_at(owner, "controller")) continue;
    pod.controller_kind = string_at(owner, "kind");
    pod.controller_name = string_at(owner, "name");
  }
  pod.mirror = find(json, "metadata", "annotations", "kubernetes.io/config.mirror") != nullptr;
  pod.phase = string_at(json, "status", "phase");
  pod.grace_seconds = int_at(json, "spec", "terminationGracePeriodSeconds").value_or(30);
  const Json* deletion = find(json, "metadata", "deletionTimestamp");
  pod.terminating = deletion && !deletion->is_null();
  pod.deletion_grace_seconds = int_at(json, "metadata", "deletionGracePeriodSeconds").value_or(0);
  pod.priority = int_at(json, "spec", "priority").value_or(0);
  for (const Json& gate : array_at(json, "spec", "readinessGates"))
    pod.readiness_gates.emplace_back(string_at(gate, "conditionType"));
  return pod;
}

}  // namespace lastlight::kube
