#include "interrupt/rehearsal.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace lastlight::interrupt {

namespace {

// Of those that select it: the server knows one budget for a pod, and fails where there are more.
BudgetSays ask(std::vector<kube::Budget>& budgets, const kube::LabelledPod& pod) {
  std::vector<kube::Budget*> about;
  for (kube::Budget& budget : budgets) {
    if (selects(budget, pod)) about.push_back(&budget);
  }
  if (about.empty() || pod.pod.phase == "Pending") return {};  // a pod that does not run is not counted
  kube::Budget& budget = *about.front();
  BudgetSays says{.name = budget.namespace_name + "/" + budget.name, .text = {}};
  if (about.size() > 1) {
    says.refuses = true;
    says.text = "and " + about[1]->name + ": the server evicts no pod of two budgets";
    return says;
  }
  const bool enough = budget.healthy >= budget.desired && budget.desired > 0;
  if (!pod.ready && (budget.unhealthy_always_go || enough)) {
    says.text = "the pod is not ready: it costs nothing";
  } else if (!budget.observed) {
    says.refuses = true;
    says.text = "not yet counted by its controller";
  } else if (budget.allowed <= 0) {
    says.refuses = true;
    says.text = "needs " + std::to_string(budget.desired) + " healthy pods, has " + std::to_string(budget.healthy);
  } else {
    says.text = std::to_string(budget.allowed) + " left";
    --budget.allowed;
    --budget.healthy;
  }
  return says;
}

void plan(Rehearsed& row, const std::set<Tier>& tiers, const Window& window, const DrainConfig& policy) {
  row.tier = tier_of(row.pod);
  const auto self = tiers.find(row.tier);
  const bool turn = policy.order == DrainConfig::Order::AtOnce || self == tiers.begin();
  if (!turn) row.after = *std::prev(self);
  row.evict_at = evict_at(row.pod, window, policy, turn);
  row.delete_at = delete_at(row.pod, window, policy);
  row.grace = grace_at(row.pod, window, policy, row.evict_at);
}

}  // namespace

std::vector<Rehearsed> rehearse(const std::vector<kube::LabelledPod>& pods,
                                std::optional<std::vector<kube::Budget>> budgets, const Window& window,
                                const DrainConfig& policy) {
  std::set<Tier> tiers;
  for (const kube::LabelledPod& each : pods) {
    if (choose(each.pod) == Choice::Evict) tiers.insert(tier_of(each.pod));
  }
  std::vector<std::pair<Rehearsed, const kube::LabelledPod*>> rows;
  for (const kube::LabelledPod& each : pods) {
    Rehearsed row{.pod = each.pod, .choice = choose(each.pod)};
    if (row.choice == Choice::Evict) plan(row, tiers, window, policy);
    rows.emplace_back(std::move(row), &each);
  }
  std::ranges::sort(rows, {}, [](const auto& entry) {
    const Rehearsed& row = entry.first;
    return std::tuple(row.choice, row.evict_at, row.tier, row.pod.namespace_name, row.pod.name);
  });
  std::vector<Rehearsed> out;
  for (auto& [row, pod] : rows) {
    if (row.choice == Choice::Evict && budgets) {
      row.budget = ask(*budgets, *pod);
      if (row.budget->refuses) row.grace = grace_at(row.pod, window, policy, row.delete_at);
    }
    out.push_back(std::move(row));
  }
  return out;
}

std::string_view choice_name(Choice choice) {
  static constexpr std::array<std::string_view, 5> kNames = {"evict", "told", "stays-daemonset", "stays-mirror",
                                                             "stays-finished"};
  return kNames.at(static_cast<std::size_t>(choice));
}

std::string_view tier_name(Tier tier) {
  static constexpr std::array<std::string_view, 4> kNames = {"balanced", "stateful", "rest", "critical"};
  return kNames.at(static_cast<std::size_t>(tier) - 1);
}

}  // namespace lastlight::interrupt
