#include "interrupt/hooks/hooks.h"

#include <algorithm>
#include <utility>

namespace lastlight::interrupt {

Hooks::Hooks(std::vector<Receiver> receivers, Duration progress_interval, Duration margin, Uniform uniform)
    : receivers_(std::move(receivers)),
      progress_interval_(progress_interval),
      margin_(margin),
      uniform_(std::move(uniform)),
      outboxes_(receivers_.size()),
      holds_(receivers_.size()) {}

void Hooks::on_notice(const Notice& notice, Instant now) {
  const auto known = std::ranges::find(notices_, notice.id, &Notice::id);
  if (known != notices_.end()) {
    // The same announcement; clouds restate it, and a second of difference is rounding.
    const Duration moved = known->deadline - notice.deadline;
    *known = notice;
    if (drain_ && drain_->notice.id == notice.id) drain_->notice = notice;
    if (std::chrono::abs(moved) <= std::chrono::seconds(2)) return;
  } else if (notices_.size() < kMaxNotices) {
    notices_.push_back(notice);
  }
  tell(Phase::Notice, notice, now);
  if (notice.deadline <= now) return;
  for (std::size_t i = 0; i < receivers_.size(); ++i) {
    const bool listens = std::ranges::find(receivers_[i].phases, Phase::Notice) != receivers_[i].phases.end();
    if (!listens || receivers_[i].hold <= Duration::zero()) continue;
    holds_[i] = now + std::min(receivers_[i].hold, (notice.deadline - now) / 4);
  }
}

void Hooks::on_withdrawn(const Withdrawn& withdrawn, Instant now) {
  const auto known = std::ranges::find(notices_, withdrawn.id, &Notice::id);
  if (known == notices_.end()) return;
  const Notice notice = std::move(*known);
  notices_.erase(known);
  if (drain_ && drain_->notice.id == notice.id) drain_->ended = true;
  for (auto& hold : holds_)
    hold.reset();
  tell(Phase::Withdrawn, notice, now);
}

void Hooks::on_fact(const Fact& fact, Instant now) {
  if (fact.kind == Fact::Kind::Started) {
    // Its text is the notice's id.
    auto notice = std::ranges::find(notices_, fact.text, &Notice::id);
    if (notice == notices_.end() && !notices_.empty()) notice = notices_.end() - 1;
    drain_ = Ongoing{};
    drained_ = false;
    if (notice != notices_.end()) drain_->notice = *notice;
    drain_->progress_due = now + progress_interval_;
    return;
  }
  if (!drain_ || drain_->ended) return;
  switch (fact.kind) {
    case Fact::Kind::Refused:
      if (drain_->refused.size() < HookEvent::kMaxRefused) {
        drain_->refused.push_back(fact.subject);
      } else {
        ++drain_->more_refused;
      }
      drain_->refused_due = std::min(drain_->refused_due, now + kBatch);
      break;
    case Fact::Kind::AllTold:
      drain_->dirty = drain_->at_once = true;
      break;
    case Fact::Kind::Drained:
      drained_ = true;
      break;
    default:
      drain_->dirty = true;
  }
}

void Hooks::on_result(std::uint64_t id, Outbox::Outcome outcome, Duration at_least, Instant now) {
  const auto found = under_way_.find(id);
  if (found == under_way_.end()) return;
  const auto [receiver, phase] = found->second;
  under_way_.erase(found);
  if (receivers_[receiver].once && outcome != Outbox::Outcome::Delivered) outcome = Outbox::Outcome::GivenUp;
  outboxes_[receiver].done(outcome, at_least, now, uniform_());
  if (phase == Phase::Notice && !outboxes_[receiver].has(Phase::Notice)) holds_[receiver].reset();
}

std::optional<Instant> Hooks::hold(Instant now) const {
  std::optional<Instant> until;
  for (const auto& each : holds_) {
    if (each && *each > now && (!until || *each > *until)) until = each;
  }
  return until;
}

void Hooks::tell(Phase phase, const Notice& notice, Instant now) {
  HookEvent event;
  event.phase = phase;
  event.notice = notice;
  if (drain_ && drain_->notice.id == notice.id) event.pods = drain_->pods;
  tell(std::move(event), now);
}

void Hooks::tell(HookEvent event, Instant now) {
  event.sequence = ++last_sequence_;
  const Instant expires = std::clamp(event.notice.deadline, now + kLinger, now + kMaxLife);
  for (std::size_t i = 0; i < receivers_.size(); ++i) {
    const auto& phases = receivers_[i].phases;
    if (std::ranges::find(phases, event.phase) != phases.end()) outboxes_[i].push(event, expires, now);
  }
}

void Hooks::tell_refused(Instant now) {
  HookEvent event;
  event.phase = Phase::PodRefused;
  event.notice = drain_->notice;
  event.pods = drain_->pods;
  event.refused = std::exchange(drain_->refused, {});
  event.more_refused = std::exchange(drain_->more_refused, 0);
  drain_->refused_due = kNever;
  tell(std::move(event), now);
}

void Hooks::tell_drain(const PodCounts& pods, Instant now) {
  drain_->dirty |= pods != std::exchange(drain_->pods, pods);
  if (!std::exchange(drain_->started_told, true)) tell(Phase::DrainStarted, drain_->notice, now);
  if (drain_->ended) return;
  if (now >= drain_->refused_due || (drained_ && drain_->refused_due != kNever)) tell_refused(now);
  const bool over = now >= drain_->notice.deadline - margin_;
  if (drained_ || (over && pods.untold() > 0)) {
    drain_->ended = true;
    return tell(drained_ ? Phase::Drained : Phase::Failed, drain_->notice, now);
  }
  if (drain_->dirty && (now >= drain_->progress_due || drain_->at_once)) {
    drain_->dirty = drain_->at_once = false;
    drain_->progress_due = now + progress_interval_;
    tell(Phase::Progress, drain_->notice, now);
  }
}

Instant Hooks::drain_wake(Instant now) const {
  if (!drain_ || drain_->ended) return kNever;
  const Instant last_word = drain_->notice.deadline - margin_;
  const Instant wake = std::min(drain_->refused_due, drain_->dirty ? drain_->progress_due : kNever);
  return last_word > now ? std::min(wake, last_word) : wake;
}

HooksStep Hooks::advance(const PodCounts& pods, Instant now) {
  HooksStep step;
  if (drain_) tell_drain(pods, now);
  step.wake = drain_wake(now);
  for (std::size_t i = 0; i < outboxes_.size(); ++i) {
    if (auto event = outboxes_[i].next(now)) {
      under_way_.emplace(++last_delivery_, std::pair(i, event->phase));
      step.deliveries.push_back({.id = last_delivery_, .receiver = i, .event = std::move(*event)});
    }
    step.wake = std::min(step.wake, outboxes_[i].wake(now));
    if (holds_[i] && *holds_[i] <= now) holds_[i].reset();
    if (holds_[i]) step.wake = std::min(step.wake, *holds_[i]);
  }
  return step;
}

}  // namespace lastlight::interrupt
