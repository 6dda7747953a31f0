// How long to wait after the n-th failure in a row: the ceiling doubles from `min` to `max`, and the wait is drawn from
// its upper half, so that nodes that failed together do not return together. Never below min, never above max (min wins
// where they cross). Pure: the caller draws the random number, counts the failures and keeps the time.
#pragma once

#include <algorithm>
#include <functional>

#include "agent/base/time.h"

namespace lastlight {

using Uniform = std::move_only_function<double()>;  // draws from [0, 1)

inline Duration backoff(Duration min, Duration max, unsigned failures, double uniform) {
  const unsigned doublings = std::min(failures == 0 ? 0U : failures - 1, 20U);
  const double ceiling = std::min(seconds(max), seconds(min) * static_cast<double>(1U << doublings));
  const double wait = ceiling * (0.5 + 0.5 * std::clamp(uniform, 0.0, 1.0));
  return std::max(min, std::chrono::duration_cast<Duration>(std::chrono::duration<double>(wait)));
}

}  // namespace lastlight
