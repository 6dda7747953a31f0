// Instants and durations. Time is an argument everywhere: only agent/io/loop reads a clock, so BootClock has no now().
// CLOCK_BOOTTIME counts suspend too, because a spot node may hibernate: TTLs and deadlines must pass while it sleeps.
// Wall time is used for one thing only: to read the absolute time inside a notice.
#pragma once

#include <chrono>

namespace lastlight {

struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
};

using Duration = std::chrono::nanoseconds;
using Instant = BootClock::time_point;
using WallTime = std::chrono::sys_time<std::chrono::milliseconds>;

inline constexpr Instant kNever = Instant::max();

// Seconds as a floating number, for logs and metrics.
constexpr double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

}  // namespace lastlight
