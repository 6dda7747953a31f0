#include "interrupt/congestion.h"

#include <algorithm>

namespace lastlight::interrupt {

Congestion::Congestion(std::size_t most)
    : most_(static_cast<double>(std::max<std::size_t>(1, most))), room_(std::min<double>(most_, kFirst)) {}

void Congestion::answered(Duration took) {
  slowest_ = std::max(slowest_, took);
  given_up_ = 0;
  slow_start_ &= took <= kQuick;
  room_ = std::min(most_, room_ + (slow_start_ ? 1 : 1 / room_));
}

void Congestion::lost(Instant asked, Instant now) {
  if (asked < reduced_) return;
  reduced_ = now;
  slow_start_ = false;
  room_ = std::min(most_, std::max<double>(kLeast, room_ / 2));
  if (now - asked >= std::chrono::seconds(1)) given_up_ = std::min(given_up_ + 1, kDoublings);  // not merely refused
}

Duration Congestion::patience() const {
  const Duration first = slowest_ > Duration::zero() ? kPatience : 2 * kPatience;
  return std::max(first * (1U << given_up_), 3 * slowest_);
}

}  // namespace lastlight::interrupt
