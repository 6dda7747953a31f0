// Turns a loop until something came true, or a generous deadline passed: the deadline only ends a failing test.
#pragma once

#include "agent/io/timer.h"

namespace lastlight::test {

template <class Condition>
bool turn_until(io::Loop& loop, Condition condition, Duration limit = std::chrono::seconds(20)) {
  bool late = false;
  io::Timer guard(loop, [&] { late = true; });
  guard.start_in(limit);
  while (!condition() && !late)
    loop.run_once();
  return condition();
}

}  // namespace lastlight::test
