// PodDisruptionBudgets as an eviction meets them (policy/v1; KEP-85, and KEP-3017 for pods that are not ready), read
// from their JSON, and what they ask of a pod. Values only.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/json.h"
#include "agent/kube/pod.h"

namespace lastlight::kube {

using Labels = std::map<std::string, std::string, std::less<>>;

// A pod with what a budget looks at, which a drain has no use for.
struct LabelledPod {
  Pod pod;
  Labels labels;
  bool ready = false;  // its condition Ready
};

struct Requirement {
  enum class Operator { In, NotIn, Exists, DoesNotExist };
  std::string key;
  Operator is = Operator::Exists;
  std::vector<std::string> values;
};

struct Budget {
  std::string namespace_name;
  std::string name;
  std::optional<std::vector<Requirement>> selector;  // empty: every pod of the namespace; none: no pod
  std::int64_t allowed = 0;                          // status.disruptionsAllowed
  std::int64_t healthy = 0;                          // status.currentHealthy
  std::int64_t desired = 0;                          // status.desiredHealthy
  bool observed = false;             // its controller has seen what it says now; until then every eviction is refused
  bool unhealthy_always_go = false;  // spec.unhealthyPodEvictionPolicy: AlwaysAllow
};

// nullopt for what has no namespace or name.
std::optional<Budget> read_budget(const Json& json);
bool selects(const Budget& budget, const LabelledPod& pod);

struct LabelledPage {
  std::vector<LabelledPod> pods;
  std::string continue_token;  // empty: this was the last page
};

std::expected<LabelledPage, std::string> read_labelled_page(std::string_view body);
std::expected<std::vector<Budget>, std::string> read_budgets(std::string_view body);

}  // namespace lastlight::kube
