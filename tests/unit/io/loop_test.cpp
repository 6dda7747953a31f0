#include "agent/io/loop.h"

#include <optional>
#include <vector>

#include <signal.h>
#include <sys/socket.h>

#include "agent/io/file_descriptor.h"
#include "agent/io/poll.h"
#include "agent/io/signal.h"

#include "tests/support/catch.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;
using namespace std::chrono_literals;
using test::turn_until;

TEST_CASE("a loop without handles ends at once", "[loop]") {
  io::Loop loop;
  loop.run();
  CHECK_FALSE(loop.run_once());
}

TEST_CASE("timers fire in order, never early, and see the instant of their firing", "[loop]") {
  io::Loop loop;
  std::vector<int> order;
  const Instant start = loop.refresh();
  Instant seen{};
  io::Timer late(loop, [&] {
    order.push_back(2);
    seen = loop.now();
  });
  io::Timer early(loop, [&] { order.push_back(1); });
  late.start_at(start + 20ms);
  early.start_in(-5s);
  loop.run();
  CHECK(order == std::vector{1, 2});
  CHECK(seen >= start + 20ms);
}

TEST_CASE("a timer is replaced, stopped by kNever, and may be destroyed armed", "[loop]") {
  io::Loop loop;
  int fired = 0;
  io::Timer timer(loop, [&] { ++fired; });
  timer.start_in(1ms);
  timer.start_at(kNever);
  loop.run();
  CHECK(fired == 0);
  timer.start_in(1h);
  timer.start_in(1ms);
  loop.run();
  CHECK(fired == 1);
  std::optional<io::Timer> gone(std::in_place, loop, [&] { ++fired; });
  gone->start_in(1ms);
  gone.reset();
  loop.run();
  CHECK(fired == 1);
}

TEST_CASE("a poll tells readiness and can be turned off", "[loop]") {
  io::Loop loop;
  int pair[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
  const io::FileDescriptor ours(pair[0]), theirs(pair[1]);
  int readable = 0;
  io::Poll poll(loop, ours.get(), [&](io::Poll::Ready ready) { readable += ready.readable ? 1 : 0; });
  poll.watch(true, false);
  REQUIRE(write(theirs.get(), "x", 1) == 1);
  CHECK(turn_until(loop, [&] { return readable > 0; }));
  poll.watch(false, false);
  loop.run();  // nothing watched is left, although the byte was not read
}

TEST_CASE("a signal comes on the loop", "[loop]") {
  io::Loop loop;
  bool received = false;
  std::optional<io::Signal> watch(std::in_place, loop, SIGUSR1, [&] { received = true; });
  REQUIRE(raise(SIGUSR1) == 0);
  CHECK(turn_until(loop, [&] { return received; }));
}
