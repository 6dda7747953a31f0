#include "interrupt/plan.h"

#include <algorithm>
#include <string_view>

namespace lastlight::interrupt {

using std::chrono::seconds;

Choice choose(const kube::Pod& pod) {
  if (pod.mirror || pod.controller_kind == "Node") return Choice::StaysMirror;
  if (pod.controller_kind == "DaemonSet") return Choice::StaysDaemonSet;
  if (pod.finished()) return Choice::StaysFinished;
  if (pod.terminating) return Choice::Told;
  return Choice::Evict;
}

Tier tier_of(const kube::Pod& pod) {
  if (pod.order.size() == 1 && pod.order[0] >= '1' && pod.order[0] <= '4') return static_cast<Tier>(pod.order[0] - '0');
  constexpr std::int64_t kSystemClusterCritical = 2'000'000'000;
  if (pod.priority >= kSystemClusterCritical) return Tier::Critical;
  const bool balanced = std::ranges::any_of(pod.readiness_gates, [](std::string_view gate) {
    return gate.starts_with("target-health.") || gate == "cloud.google.com/load-balancer-neg-ready";
  });
  if (balanced) return Tier::Balanced;
  return pod.controller_kind == "StatefulSet" ? Tier::Stateful : Tier::Rest;
}

// No pod's grace is longer than a year; the bound keeps the arithmetic on Duration far from overflow.
static seconds own_grace(const kube::Pod& pod) {
  return seconds(std::clamp<std::int64_t>(pod.grace_seconds, 1, 31'536'000));
}

seconds grace_at(const kube::Pod& pod, const Window& window, const DrainConfig& policy, Instant now) {
  const seconds left = std::chrono::round<seconds>(window.deadline - now - policy.margin);
  return std::max(seconds(1), std::min(own_grace(pod), left));
}

Instant delete_at(const kube::Pod& pod, const Window& window, const DrainConfig& policy) {
  const Duration length = std::max(window.deadline - window.noticed, Duration::zero());
  const Instant fits = window.deadline - policy.margin - own_grace(pod);
  const auto patience = std::chrono::duration_cast<Duration>(length * std::clamp(policy.patience, 0.0, 1.0));
  // Patience is worth nothing after the last instant at which a grace of 1 s still fits.
  const Instant last = std::max(window.noticed, window.deadline - policy.margin - seconds(1));
  return std::min(std::max(fits, window.noticed + patience), last);
}

Instant evict_at(const kube::Pod& pod, const Window& window, const DrainConfig& policy, bool turn) {
  if (turn && !pod.do_not_disrupt) return window.noticed;
  return std::max(window.noticed, delete_at(pod, window, policy) - seconds(1));
}

}  // namespace lastlight::interrupt
