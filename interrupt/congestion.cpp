#include "interrupt/congestion.h"

#include <algorithm>

namespace lastlight::interrupt {

Congestion::Congestion(std::size_t most)
    : most_(static_cast<double>(std::max<std::size_t>(1, most))), room_(std::min<double>(most_, kFirst)) {}

void Congestion::answered(Duration took) {
  fastest_ = std::min(fastest_, took);
  slowest_ = std::max(slowest_, took);
  given_up_ = 0;
  slow_start_ &= took <= kQuick;
  room_ = std::min(most_, room_ + (slow_start_ ? 1 : 1 / room_));
}

void Congestion::answered_for_pod(Duration took) {
  answered(took);
  usual_ = usual_ == Duration::zero() ? took : usual_ + (took - usual_) / 8;
}

void Congestion::lost(Instant asked, Instant now) {
  if (asked < reduced_) return;
  reduced_ = now;
  slow_start_ = false;
  room_ = std::min(most_, std::max<double>(kLeast, room_ / 2));
  if (now - asked >= std::chrono::seconds(1)) given_up_ = std::min(given_up_ + 1, kDoublings);  // not merely refused
}

std::size_t Congestion::room(double needed, Duration unanswered) const {
  const bool hangs = unanswered > kHangs * slowest_;
  const bool busy = usual_ > std::max(kQuick, kFar * fastest_);
  const double least = busy ? static_cast<double>(hangs ? kLeast : 1) : room_;
  const double in_time = needed * seconds(hangs ? unanswered : usual_);
  return static_cast<std::size_t>(std::max(least, std::min(in_time, kBehind * most_)));
}

Duration Congestion::patience() const {
  return std::max(kPatience * (1U << given_up_), 3 * slowest_);
}

}  // namespace lastlight::interrupt
