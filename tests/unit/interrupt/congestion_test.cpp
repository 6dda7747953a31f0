#include "interrupt/congestion.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {
const Instant kStart{1h};
}  // namespace

TEST_CASE("each quick answer makes room for one request more, up to the most") {
  Congestion congestion(6);
  CHECK(congestion.room(0, 0ns) == 2);
  congestion.answered(10ms);
  CHECK(congestion.room(0, 0ns) == 3);
  congestion.answered(500ms);
  CHECK(congestion.room(0, 0ns) == 4);
  for (int i = 0; i < 100; ++i)
    congestion.answered(10ms);
  CHECK(congestion.room(0, 0ns) == 6);
}

TEST_CASE("once an answer was slow, or one was lost, each round makes room for one more") {
  Congestion congestion(8);
  SECTION("slow") {
    congestion.answered(501ms);
  }
  SECTION("lost") {
    congestion.lost(kStart, kStart + 10s);
    congestion.answered(10ms);
  }
  CHECK(congestion.room(0, 0ns) == 2);
  congestion.answered(10ms);
  congestion.answered(10ms);
  CHECK(congestion.room(0, 0ns) == 3);
}

TEST_CASE("what is lost halves it, once a round, and never to nothing") {
  Congestion congestion(8);
  for (int i = 0; i < 100; ++i)
    congestion.answered(10ms);
  for (int i = 0; i < 8; ++i)
    congestion.lost(kStart, kStart + 5s);  // all of one round
  CHECK(congestion.room(0, 0ns) == 4);
  congestion.lost(kStart + 10s, kStart + 20s);
  congestion.lost(kStart + 20s, kStart + 30s);
  CHECK(congestion.room(0, 0ns) == Congestion::kLeast);
  Congestion alone(1);
  alone.lost(kStart, kStart + 5s);
  CHECK(alone.room(0, 0ns) == 1);
}

TEST_CASE("of a busy server only as much is asked at once as must be, twice the most where it would be late") {
  Congestion congestion(8);
  congestion.answered_for_pod(100ms);
  congestion.answered_for_pod(10s);
  CHECK(congestion.usual() > 1s);
  CHECK(congestion.room(0.1, 0ns) == 1);
  CHECK(congestion.room(3, 0ns) == 4);
  CHECK(congestion.room(1000, 0ns) == 16);
  SECTION("one that hangs leaves room for another") {
    CHECK(congestion.room(0.1, 20s) == 1);
    CHECK(congestion.room(0, 21s) == 2);
    CHECK(congestion.room(0.2, 25s) == 5);
  }
}

TEST_CASE("a server that is far away is not busy") {
  Congestion congestion(8);
  congestion.answered(1s);  // the cordon's answer
  congestion.answered_for_pod(2s);
  CHECK(congestion.room(0, 0ns) == 2);
  congestion.answered_for_pod(2100ms);
  CHECK(congestion.room(0, 0ns) == 1);
}

TEST_CASE("patience doubles with each round that was given up, ends with an answer, and knows the slowest one") {
  Congestion congestion(8);
  CHECK(congestion.patience() == 10s);
  congestion.lost(kStart, kStart + 1ms);  // refused at once: no sign of slowness
  CHECK(congestion.patience() == 10s);
  congestion.lost(kStart + 1s, kStart + 6s);
  congestion.lost(kStart + 1s, kStart + 6s);
  CHECK(congestion.patience() == 20s);
  for (int i = 1; i < 10; ++i)
    congestion.lost(kStart + i * 10s, kStart + (i + 1) * 10s);
  CHECK(congestion.patience() == 160s);
  congestion.answered(100ms);
  CHECK(congestion.patience() == 10s);
  congestion.answered(4s);
  CHECK(congestion.patience() == 12s);
  CHECK(congestion.slowest() == 4s);
}
