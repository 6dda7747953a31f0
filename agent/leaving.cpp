#include "agent/leaving.h"

#include <algorithm>

namespace lastlight {

void Leaving::on_terminate(Instant now) {
  if (asks_++ == 0) asked_ = now;
}

bool Leaving::pods_keep_us(Pods pods, Instant now) const {
  if (pods == Pods::None) return false;
  return now < asked_ + (pods == Pods::Some ? last_ : std::min(last_, kPatience));
}

Leaving::Step Leaving::decide(const Facts& facts, Instant now) {
  if (asks_ == 0) return Step::Stay;
  if (asks_ > 1) return Step::Exit;
  if (leaving_ == kNever && !facts.succeeded && pods_keep_us(facts.pods, now)) return Step::Stay;
  leaving_ = std::min(leaving_, now);  // from here there is no way back
  if (now >= leaving_ + grace_) return Step::Exit;
  if (facts.taken_over) {
    released_ = now;
    return Step::Release;
  }
  if (released_ != kNever && now < released_ + kLameDuck) return Step::Release;
  return facts.owed == 0 ? Step::Exit : Step::Drain;
}

}  // namespace lastlight
