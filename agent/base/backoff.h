// Exponential back-off with full jitter: the ceiling doubles from `min` to `max` with each failure in a row, and the
// wait is drawn evenly between `min` and the ceiling, so that a fleet that failed together does not return together.
// Pure: the caller draws the random number and keeps the time.
#pragma once

#include <cstdint>

#include "agent/base/time.h"

namespace lastlight {

class Backoff {
 public:
  Backoff(Duration min, Duration max) : min_(min), max_(max < min ? min : max) {}

  // The wait after one more failure. `uniform` is drawn from [0, 1).
  Duration next(double uniform);
  void reset() { failures_ = 0; }
  std::uint32_t failures() const { return failures_; }

 private:
  Duration min_;
  Duration max_;
  std::uint32_t failures_ = 0;
};

}  // namespace lastlight
