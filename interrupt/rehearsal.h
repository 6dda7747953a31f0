// A drain that is only looked at: for each pod of a node what interrupt/plan.h, which the drain itself asks, has in
// mind, and which budget would refuse its eviction. Pure. Budgets are counted down here, in the order of the evictions,
// because evictions that are a dry run do not spend them; the rules are those of the API server's eviction (KEP-85).
// Nobody ends while we look, so a budget gives nothing back: a pod that is refused here may be evicted in time.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config.h"
#include "agent/kube/budget.h"
#include "interrupt/plan.h"

namespace lastlight::interrupt {

struct BudgetSays {
  bool refuses = false;
  std::string name;  // namespace/name; empty: no budget is about this pod
  std::string text;  // "1 of 2 disruptions left"
};

struct Rehearsed {
  kube::Pod pod;
  Choice choice = Choice::Evict;
  // The rest is of a pod to evict.
  Tier tier = Tier::Rest;
  std::optional<Tier> after{};  // staged: waits until the pods of this tier are gone, but not past evict_at
  Instant evict_at{};
  Instant delete_at{};                 // D: a DELETE, if its eviction is still refused then
  std::chrono::seconds grace{0};       // what it would be given: at D where a budget refuses, else at its eviction
  std::optional<BudgetSays> budget{};  // none: the budgets are not known
};

// Those to evict first, in the order of their evictions; then the others.
std::vector<Rehearsed> rehearse(const std::vector<kube::LabelledPod>& pods,
                                std::optional<std::vector<kube::Budget>> budgets, const Window& window,
                                const DrainConfig& policy);

std::string_view choice_name(Choice choice);  // "evict", "stays-daemonset"
std::string_view tier_name(Tier tier);        // "balanced"

}  // namespace lastlight::interrupt
