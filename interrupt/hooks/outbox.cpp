#include "interrupt/hooks/outbox.h"

#include <algorithm>
#include <utility>

namespace lastlight::interrupt {

void Outbox::push(HookEvent event, Instant expires, Instant now) {
  if (join(event, expires)) return;
  if (waiting_.size() >= kMaxEvents) make_room();
  if (waiting_.empty()) next_try_ = now;
  waiting_.push_back({std::move(event), expires});
}

// Only with the event at the end, so that the order of phases holds, and never with one under way.
bool Outbox::join(const HookEvent& event, Instant expires) {
  if (waiting_.size() < (sending_ ? 2U : 1U)) return false;
  Entry& last = waiting_.back();
  if (last.event.phase != event.phase || last.event.notice.id != event.notice.id) return false;
  if (event.phase == Phase::Progress) {
    last = {event, expires};
    return true;
  }
  if (event.phase != Phase::PodRefused) return false;
  std::vector<std::string> names = std::move(last.event.refused);
  std::uint64_t more = last.event.more_refused + event.more_refused;
  for (const std::string& name : event.refused) {
    if (names.size() < HookEvent::kMaxRefused) {
      names.push_back(name);
    } else {
      ++more;
    }
  }
  last = {event, expires};
  last.event.refused = std::move(names);
  last.event.more_refused = more;
  return true;
}

void Outbox::make_room() {
  const auto first = waiting_.begin() + (sending_ ? 1 : 0);
  auto victim = std::find_if(first, waiting_.end(), [](const Entry& e) { return e.event.phase == Phase::Progress; });
  if (victim == waiting_.end()) victim = first;
  if (victim == waiting_.begin()) failures_ = 0;
  waiting_.erase(victim);
  ++counters_.lost;
}

std::optional<HookEvent> Outbox::next(Instant now) {
  if (sending_) return std::nullopt;
  while (!waiting_.empty() && now >= waiting_.front().expires) {
    ++counters_.expired;
    pop();
    next_try_ = now;
  }
  if (waiting_.empty() || now < next_try_) return std::nullopt;
  sending_ = true;
  return waiting_.front().event;
}

void Outbox::done(Outcome outcome, Duration at_least, Instant now, double uniform) {
  if (!std::exchange(sending_, false)) return;
  next_try_ = now;
  if (outcome == Outcome::Delivered) {
    ++counters_.delivered;
    return pop();
  }
  ++counters_.failed_tries;
  ++failures_;
  const bool hopeless = outcome == Outcome::GivenUp || (outcome == Outcome::Refused && failures_ >= kTriesOfRefused);
  if (hopeless) {
    ++counters_.refused;
    return pop();
  }
  next_try_ = now + std::max(backoff(kRetryMin, kRetryMax, failures_, uniform), std::min(at_least, kRetryMax));
}

void Outbox::pop() {
  waiting_.pop_front();
  failures_ = 0;
}

Instant Outbox::wake(Instant now) const {
  if (sending_ || waiting_.empty()) return kNever;
  return std::max(now, std::min(next_try_, waiting_.front().expires));
}

bool Outbox::has(Phase phase) const {
  return std::ranges::any_of(waiting_, [&](const Entry& entry) { return entry.event.phase == phase; });
}

}  // namespace lastlight::interrupt
