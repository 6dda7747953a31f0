// How long to wait after the n-th failure in a row: doubling from min to max, jittered so that the nodes of one
// interrupted fleet do not ask in step. Never below min, never above max.
#pragma once

#include <algorithm>
#include <functional>

#include "agent/base/time.h"

namespace lastlight::interrupt {

using Uniform = std::move_only_function<double()>;  // [0, 1)

inline Duration backoff(Duration min, Duration max, unsigned failures, double uniform) {
  const unsigned doublings = std::min(failures == 0 ? 0U : failures - 1, 20U);
  const double ceiling = std::min(seconds(max), seconds(min) * static_cast<double>(1U << doublings));
  const double wait = ceiling * (0.5 + 0.5 * std::clamp(uniform, 0.0, 1.0));
  return std::max(min, std::chrono::duration_cast<Duration>(std::chrono::duration<double>(wait)));
}

}  // namespace lastlight::interrupt
