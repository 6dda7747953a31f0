#include "interrupt/policy.h"

#include <algorithm>
#include <array>
#include <utility>

namespace lastlight::interrupt {
namespace {

Treatment by_kind(const PolicyConfig& config, NoticeKind kind) {
  switch (kind) {
    case NoticeKind::SpotTerminate:
      return config.spot_terminate;
    case NoticeKind::SpotStop:
      return config.spot_stop;
    case NoticeKind::SpotHibernate:
      return config.spot_hibernate;
    case NoticeKind::Preempt:
      return config.preempt;
    case NoticeKind::Terminate:
      return config.terminate;
    case NoticeKind::AsgTerminate:
      return config.asg_terminate;
    case NoticeKind::Reboot:
      return config.reboot;
    case NoticeKind::Redeploy:
      return config.redeploy;
    case NoticeKind::Maintenance:
      return config.maintenance;
    case NoticeKind::Rebalance:
      return config.rebalance;
    case NoticeKind::Freeze:
      return config.freeze;
    case NoticeKind::LiveMigration:
      return config.live_migration;
  }
  return Treatment::Event;
}

std::optional<kube::Mark> mark_of(Treatment treatment) {
  if (treatment == Treatment::Taint) return kube::Mark::SoftTaint;
  if (treatment == Treatment::Cordon) return kube::Mark::Cordon;
  return std::nullopt;
}

// Which of two is to be acted upon: the one that ends first, of those whose end is still to come.
bool more_urgent(const Notice& a, const std::optional<Notice>& b, Instant now) {
  if (!b) return true;
  return std::pair(a.deadline <= now, a.deadline) < std::pair(b->deadline <= now, b->deadline);
}

}  // namespace

std::string_view treatment_name(Treatment treatment) {
  static constexpr std::array<std::string_view, 6> kNames = {"ignore", "event", "taint", "cordon", "drain", "drain-at"};
  return kNames.at(static_cast<std::size_t>(treatment));
}

Treatment Policy::treatment_of(const Notice& notice) const {
  const auto code = std::ranges::find(config_.codes, notice.code, &CodePolicy::code);
  return code != config_.codes.end() ? code->treatment : by_kind(config_, notice.kind);
}

// Recommendations come early, often and to whole fleets: acting upon each is endless churn.
bool Policy::limited(Instant now) {
  const bool young = now.time_since_epoch() < config_.rebalance_minimum_age;  // the boot clock's epoch is the boot
  const bool recent = rebalanced_ && now - *rebalanced_ < config_.rebalance_period;
  if (!young && !recent) rebalanced_ = now;
  return young || recent;
}

Treatment Policy::on_notice(const Notice& notice, Instant now) {
  const auto known = std::ranges::find(standing_, notice.id, [](const Standing& each) { return each.notice.id; });
  Notice dated = notice;
  if (known != standing_.end()) {
    if (notice.deadline == kNever) dated.deadline = known->notice.deadline;
    dated.made = known->notice.made;
    known->notice = std::move(dated);
    return known->treatment;
  }
  ++counters_.notices.at(static_cast<std::size_t>(notice.kind));
  Treatment treatment = treatment_of(notice);
  const bool acts = treatment != Treatment::Ignore && treatment != Treatment::Event;
  if (notice.kind == NoticeKind::Rebalance && acts && limited(now)) {
    ++counters_.limited;
    treatment = Treatment::Event;
  }
  if (treatment == Treatment::Ignore) ++counters_.ignored;
  const bool drains = treatment == Treatment::Drain || treatment == Treatment::DrainAt;
  if (drains && notice.deadline == kNever) {
    dated.deadline = now + config_.assumed_window;
    dated.deadline_assumed = true;
  }
  if (standing_.size() >= kMax) {
    ++counters_.over_bound;
    return Treatment::Ignore;
  }
  if (!dated.made) dated.made = now;
  standing_.push_back({.notice = std::move(dated), .treatment = treatment});
  return treatment;
}

void Policy::on_withdrawn(std::string_view id) {
  std::erase_if(standing_, [&](const Standing& each) { return each.notice.id == id; });
}

bool Policy::standing(std::string_view id) const {
  return std::ranges::any_of(standing_, [&](const Standing& each) { return each.notice.id == id; });
}

// The strongest mark, and of equals the one that lasts longest.
void Policy::consider_mark(Stance& stance, const Standing& each, Instant now) const {
  const Notice& notice = each.notice;
  const Instant from = notice.deadline == kNever ? notice.made.value_or(now) : notice.deadline;
  const Instant until = from + config_.mark_expiry;
  if (now >= until) return;
  stance.wake = std::min(stance.wake, until);
  const kube::Mark mark = *mark_of(each.treatment);
  if (stance.mark && std::pair(stance.mark->mark, stance.mark->until) >= std::pair(mark, until)) return;
  stance.mark = Marking{.notice = notice, .mark = mark, .until = until};
}

Stance Policy::decide(Instant now) const {
  Stance stance;
  for (const Standing& each : standing_) {
    const Notice& notice = each.notice;
    // An Instant is far from its bounds here: no source lets a time of more than 400 days pass.
    const Instant begins = notice.deadline - config_.lead;
    switch (each.treatment) {
      case Treatment::Ignore:
        continue;
      case Treatment::Event:
        break;
      case Treatment::Taint:
      case Treatment::Cordon:
        consider_mark(stance, each, now);
        break;
      case Treatment::DrainAt:
        if (now < begins) {
          stance.wake = std::min(stance.wake, begins);
          break;
        }
        [[fallthrough]];
      case Treatment::Drain:
        if (more_urgent(notice, stance.drain, now)) stance.drain = notice;
        break;
    }
    if (more_urgent(notice, stance.nearest, now)) stance.nearest = notice;
  }
  if (stance.drain) {
    stance.nearest = stance.drain;
    stance.mark.reset();
  }
  return stance;
}

}  // namespace lastlight::interrupt
