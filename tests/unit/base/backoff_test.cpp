#include "agent/base/backoff.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace std::chrono_literals;

TEST_CASE("the ceiling doubles to the maximum and the wait never leaves the bounds") {
  Backoff backoff(200ms, 2s);
  CHECK(backoff.next(1) == 400ms);
  CHECK(backoff.next(1) == 800ms);
  CHECK(backoff.next(1) == 1600ms);
  CHECK(backoff.next(1) == 2s);
  CHECK(backoff.next(0) == 200ms);
  CHECK(backoff.next(0.5) == 1100ms);
  CHECK(backoff.failures() == 6);
  backoff.reset();
  CHECK(backoff.next(1) == 400ms);
}

TEST_CASE("odd bounds and draws are harmless") {
  CHECK(Backoff(5s, 1s).next(0.9) == 5s);
  CHECK(Backoff(1s, 2s).next(7) == 2s);
  CHECK(Backoff(1s, 2s).next(-7) == 1s);
  Backoff from_zero(0s, 1s);
  for (int i = 0; i < 100; ++i)
    CHECK(from_zero.next(1) <= 1s);
  CHECK(from_zero.next(1) == 1s);
  Backoff forever(1ns, Duration::max());
  for (int i = 0; i < 200; ++i)
    CHECK(forever.next(0.999) >= 1ns);
}
