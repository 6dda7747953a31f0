#include "agent/kube/budget.h"

#include <algorithm>
#include <utility>

namespace lastlight::kube {

namespace {

constexpr std::size_t kMaxPage = std::size_t{8} << 20;

Labels read_labels(const Json::object_t& from) {
  Labels out;
  for (const auto& [key, value] : from)
    out.emplace(key, string_or_empty(&value));
  return out;
}

std::optional<Requirement::Operator> read_operator(std::string_view word) {
  using Operator = Requirement::Operator;
  if (word == "In") return Operator::In;
  if (word == "NotIn") return Operator::NotIn;
  if (word == "Exists") return Operator::Exists;
  if (word == "DoesNotExist") return Operator::DoesNotExist;
  return std::nullopt;
}

// None for a selector that selects nothing: an absent one, or one that we cannot read (the server would not either).
std::optional<std::vector<Requirement>> read_selector(const Json* selector) {
  if (selector == nullptr || !selector->is_object()) return std::nullopt;
  std::vector<Requirement> out;
  for (const auto& [key, value] : object_at(*selector, "matchLabels"))
    out.push_back({.key = key, .is = Requirement::Operator::In, .values = {string_or_empty(&value)}});
  for (const Json& expression : array_at(*selector, "matchExpressions")) {
    const auto is = read_operator(string_at(expression, "operator"));
    if (!is) return std::nullopt;
    Requirement requirement{.key = string_at(expression, "key"), .is = *is, .values = {}};
    for (const Json& value : array_at(expression, "values"))
      requirement.values.push_back(string_or_empty(&value));
    out.push_back(std::move(requirement));
  }
  return out;
}

bool holds(const Requirement& requirement, const Labels& labels) {
  using Operator = Requirement::Operator;
  const auto found = labels.find(requirement.key);
  const bool there = found != labels.end();
  const bool listed = there && std::ranges::find(requirement.values, found->second) != requirement.values.end();
  switch (requirement.is) {
    case Operator::In:
      return listed;
    case Operator::NotIn:
      return !listed;
    case Operator::Exists:
      return there;
    case Operator::DoesNotExist:
      return !there;
  }
  return false;
}

std::expected<Json, std::string> read_list(std::string_view body) {
  auto json = parse_json(body, {.bytes = kMaxPage});
  if (!json) return std::unexpected(json.error());
  const Json* items = find(*json, "items");
  if (!items || !(items->is_array() || items->is_null())) return std::unexpected("a list without items");
  return json;
}

}  // namespace

std::optional<Budget> read_budget(const Json& json) {
  Budget budget;
  budget.namespace_name = string_at(json, "metadata", "namespace");
  budget.name = string_at(json, "metadata", "name");
  if (budget.namespace_name.empty() || budget.name.empty()) return std::nullopt;
  budget.selector = read_selector(find(json, "spec", "selector"));
  budget.allowed = int_at(json, "status", "disruptionsAllowed").value_or(0);
  budget.healthy = int_at(json, "status", "currentHealthy").value_or(0);
  budget.desired = int_at(json, "status", "desiredHealthy").value_or(0);
  budget.observed =
      int_at(json, "status", "observedGeneration").value_or(0) >= int_at(json, "metadata", "generation").value_or(0);
  budget.unhealthy_always_go = string_at(json, "spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow";
  return budget;
}

bool selects(const Budget& budget, const LabelledPod& pod) {
  return budget.selector && budget.namespace_name == pod.pod.namespace_name &&
         std::ranges::all_of(*budget.selector, [&](const Requirement& each) { return holds(each, pod.labels); });
}

std::expected<LabelledPage, std::string> read_labelled_page(std::string_view body) {
  const auto json = read_list(body);
  if (!json) return std::unexpected(json.error());
  LabelledPage page;
  page.continue_token = string_at(*json, "metadata", "continue");
  for (const Json& item : array_at(*json, "items")) {
    auto pod = read_pod(item);
    if (!pod) continue;
    const bool ready = std::ranges::any_of(array_at(item, "status", "conditions"), [](const Json& condition) {
      return string_at(condition, "type") == "Ready" && string_at(condition, "status") == "True";
    });
    page.pods.push_back(
        {.pod = std::move(*pod), .labels = read_labels(object_at(item, "metadata", "labels")), .ready = ready});
  }
  return page;
}

std::expected<std::vector<Budget>, std::string> read_budgets(std::string_view body) {
  const auto json = read_list(body);
  if (!json) return std::unexpected(json.error());
  std::vector<Budget> out;
  for (const Json& item : array_at(*json, "items")) {
    if (auto budget = read_budget(item)) out.push_back(std::move(*budget));
  }
  return out;
}

}  // namespace lastlight::kube
