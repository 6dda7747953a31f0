#include "agent/leaving.h"

#include "tests/support/catch.h"

using lastlight::Instant;
using lastlight::Leaving;
using Pods = Leaving::Pods;
using Step = Leaving::Step;
using namespace std::chrono_literals;

namespace {

constexpr Instant kAsked = Instant{} + 100s;

Leaving told_to_leave(lastlight::Duration last = 0s) {
  Leaving leaving(5s, last);
  leaving.on_terminate(kAsked);
  return leaving;
}

}  // namespace

TEST_CASE("nobody asked: it stays, whatever is in flight") {
  Leaving leaving(5s, 15min);
  CHECK(leaving.decide({}, Instant{}) == Step::Stay);
  CHECK(leaving.decide({.pods = Pods::Some, .taken_over = true, .owed = 7}, Instant{} + 1h) == Step::Stay);
}

TEST_CASE("SIGTERM: what is in flight is answered, within the grace") {
  Leaving leaving = told_to_leave();
  CHECK(leaving.decide({.owed = 3}, kAsked) == Step::Drain);
  CHECK(leaving.decide({.owed = 3}, kAsked + 4999ms) == Step::Drain);
  CHECK(leaving.decide({.owed = 3}, kAsked + 5s) == Step::Exit);
  CHECK(told_to_leave().decide({}, kAsked) == Step::Exit);
}

TEST_CASE("a second SIGTERM ends it at once") {
  Leaving leaving = told_to_leave(15min);
  CHECK(leaving.decide({.pods = Pods::Some}, kAsked) == Step::Stay);
  leaving.on_terminate(kAsked + 1s);
  CHECK(leaving.decide({.pods = Pods::Some, .taken_over = true, .owed = 9}, kAsked + 1s) == Step::Exit);
}

TEST_CASE("the lease is given back before the last question is read") {
  Leaving leaving = told_to_leave();
  CHECK(leaving.decide({.taken_over = true}, kAsked) == Step::Release);
  CHECK(leaving.decide({.taken_over = true}, kAsked + 40ms) == Step::Release);
  // Those that were on their way when it ended.
  CHECK(leaving.decide({.owed = 1}, kAsked + 60ms) == Step::Release);
  CHECK(leaving.decide({.owed = 1}, kAsked + 40ms + Leaving::kLameDuck) == Step::Drain);
  CHECK(leaving.decide({}, kAsked + 95ms) == Step::Exit);
}

TEST_CASE("a lease that cannot be given back does not keep it past the grace") {
  Leaving leaving = told_to_leave();
  CHECK(leaving.decide({.taken_over = true}, kAsked) == Step::Release);
  CHECK(leaving.decide({.taken_over = true}, kAsked + 5s) == Step::Exit);
}

TEST_CASE("on a drained node it serves until the last pod has left, and only then does the grace begin") {
  Leaving leaving = told_to_leave(15min);
  CHECK(leaving.decide({.pods = Pods::Some, .taken_over = true, .owed = 2}, kAsked + 14min) == Step::Stay);
  CHECK(leaving.decide({.pods = Pods::None, .taken_over = true, .owed = 2}, kAsked + 14min) == Step::Release);
  // A pod that appears now is too late.
  CHECK(leaving.decide({.pods = Pods::Some, .owed = 2}, kAsked + 14min + 1s) == Step::Drain);
  CHECK(leaving.decide({.pods = Pods::Some, .owed = 2}, kAsked + 14min + 5s) == Step::Exit);
}

TEST_CASE("where a successor serves nobody keeps it, whenever that one came") {
  Leaving leaving = told_to_leave(15min);
  CHECK(leaving.decide({.pods = Pods::Some, .owed = 1}, kAsked + 1min) == Step::Stay);
  CHECK(leaving.decide({.pods = Pods::Some, .succeeded = true, .owed = 1}, kAsked + 2min) == Step::Drain);
  CHECK(leaving.decide({.pods = Pods::Some, .succeeded = true}, kAsked + 2min) == Step::Exit);
}

TEST_CASE("pods keep it no longer than they may, and not at all when that is off") {
  Leaving leaving = told_to_leave(10min);
  CHECK(leaving.decide({.pods = Pods::Some}, kAsked + 10min - 1ms) == Step::Stay);
  CHECK(leaving.decide({.pods = Pods::Some}, kAsked + 10min) == Step::Exit);
  CHECK(told_to_leave(0s).decide({.pods = Pods::Some}, kAsked) == Step::Exit);
}

TEST_CASE("what the API server does not tell is waited for a moment only") {
  Leaving leaving = told_to_leave(15min);
  CHECK(leaving.decide({.pods = Pods::Unknown}, kAsked + 1999ms) == Step::Stay);
  CHECK(leaving.decide({.pods = Pods::Unknown}, kAsked + Leaving::kPatience) == Step::Exit);
}
