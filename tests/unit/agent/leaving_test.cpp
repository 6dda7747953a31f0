#include "agent/leaving.h"

#include "tests/support/catch.h"

using lastlight::Instant;
using lastlight::Leaving;
using namespace std::chrono_literals;

TEST_CASE("nobody asked: it stays, whatever is in flight") {
  const Leaving leaving(5s);
  CHECK(leaving.decide(0, Instant{}) == Leaving::Step::Stay);
  CHECK(leaving.decide(7, Instant{} + 1h) == Leaving::Step::Stay);
  CHECK(leaving.deadline() == lastlight::kNever);
}

TEST_CASE("SIGTERM: what is in flight is answered, within the grace") {
  Leaving leaving(5s);
  const Instant asked = Instant{} + 100s;
  leaving.on_terminate(asked);
  CHECK(leaving.decide(3, asked) == Leaving::Step::Drain);
  CHECK(leaving.decide(3, asked + 4999ms) == Leaving::Step::Drain);
  CHECK(leaving.decide(0, asked + 1s) == Leaving::Step::Exit);
  CHECK(leaving.decide(3, asked + 5s) == Leaving::Step::Exit);
}

TEST_CASE("a second SIGTERM ends it at once and does not extend the grace") {
  Leaving leaving(5s);
  leaving.on_terminate(Instant{});
  leaving.on_terminate(Instant{} + 1s);
  CHECK(leaving.deadline() == Instant{} + 5s);
  CHECK(leaving.decide(9, Instant{} + 1s) == Leaving::Step::Exit);
}
