#include "agent/kube/pod.h"

#include <algorithm>

namespace lastlight::kube {
namespace {

// The taint that the node lifecycle controller gives a cordoned node, as the scheduler matches it.
bool tolerates_cordon(const Json& toleration) {
  const std::string key = string_at(toleration, "key");
  const std::string effect = string_at(toleration, "effect");
  const std::string value = string_at(toleration, "value");
  const bool exists = string_at(toleration, "operator") == "Exists";
  if (!effect.empty() && effect != "NoSchedule") return false;
  if (key.empty()) return exists;
  return key == "node.kubernetes.io/unschedulable" && (exists || value.empty());
}

bool has_pre_stop(const Json& container) {
  return find(container, "lifecycle", "preStop") != nullptr;
}

void read_manners(const Json& json, Pod& pod) {
  const auto annotation = [&json](std::string_view key) { return string_at(json, "metadata", "annotations", key); };
  pod.order = annotation("lastlight.io/drain-order");
  const std::string karpenter = annotation("karpenter.sh/do-not-disrupt");
  pod.do_not_disrupt = (!karpenter.empty() && karpenter != "false") ||
                       annotation("cluster-autoscaler.kubernetes.io/safe-to-evict") == "false";
  pod.tolerates_cordon = std::ranges::any_of(array_at(json, "spec", "tolerations"), tolerates_cordon);
  const auto& starting = array_at(json, "spec", "initContainers");
  pod.sidecars = std::ranges::any_of(
      starting, [](const Json& container) { return string_at(container, "restartPolicy") == "Always"; });
  pod.pre_stop = std::ranges::any_of(array_at(json, "spec", "containers"), has_pre_stop) ||
                 std::ranges::any_of(starting, has_pre_stop);
}

}  // namespace

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
    pod.controller_uid = string_at(owner, "uid");
  }
  pod.mirror = find(json, "metadata", "annotations", "kubernetes.io/config.mirror") != nullptr;
  pod.phase = string_at(json, "status", "phase");
  pod.reason = string_at(json, "status", "reason");
  pod.grace_seconds = int_at(json, "spec", "terminationGracePeriodSeconds").value_or(30);
  const Json* deletion = find(json, "metadata", "deletionTimestamp");
  pod.terminating = deletion && !deletion->is_null();
  pod.deletion_timestamp = string_or_empty(deletion);
  pod.deletion_grace_seconds = int_at(json, "metadata", "deletionGracePeriodSeconds").value_or(0);
  pod.priority = int_at(json, "spec", "priority").value_or(0);
  for (const Json& gate : array_at(json, "spec", "readinessGates"))
    pod.readiness_gates.emplace_back(string_at(gate, "conditionType"));
  for (const Json& address : array_at(json, "status", "podIPs"))
    pod.addresses.push_back(string_at(address, "ip"));
  read_manners(json, pod);
  return pod;
}

}  // namespace lastlight::kube
