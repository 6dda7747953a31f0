#include "agent/base/backoff.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace std::chrono_literals;

TEST_CASE("the ceiling doubles to the maximum, and a wait is its upper half") {
  CHECK(backoff(200ms, 2s, 1, 1) == 200ms);
  CHECK(backoff(200ms, 2s, 2, 1) == 400ms);
  CHECK(backoff(200ms, 2s, 3, 1) == 800ms);
  CHECK(backoff(200ms, 2s, 4, 1) == 1600ms);
  CHECK(backoff(200ms, 2s, 5, 1) == 2s);
  CHECK(backoff(200ms, 2s, 5, 0) == 1s);
  CHECK(backoff(200ms, 2s, 5, 0.5) == 1500ms);
}

TEST_CASE("a wait never leaves its bounds, whatever is drawn and however long it has failed") {
  for (const unsigned failures : {0U, 1U, 2U, 7U, 64U, 4'000'000'000U}) {
    for (const double uniform : {-7.0, 0.0, 0.999, 7.0}) {
      const Duration wait = backoff(200ms, 2s, failures, uniform);
      INFO(failures << " failures, " << uniform);
      CHECK(wait >= 200ms);
      CHECK(wait <= 2s);
      CHECK(backoff(5s, 1s, failures, uniform) == 5s);
      CHECK(backoff(0s, 1s, failures, uniform) == 0s);
    }
  }
}
