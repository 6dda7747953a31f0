// More questions than the node can ask: floods, crowds, an upstream that swallows everything.
#include "tests/scenarios/dns/world.h"
#include "tests/support/catch.h"
#include "tests/support/sanitized.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

namespace {

DnsConfig one_zone() {
  DnsConfig config;
  config.zones = {ZoneConfig{}};
  config.cache_size = mib(4);
  return config;
}

}  // namespace

TEST_CASE("50,000 unique names a second into a black hole: bounded memory, and the other pods go on") {
  bool swallow = false;
  World world(one_zone(), [&](ByteView query, Instant) -> std::optional<World::Reply> {
    if (swallow && name_of(query).starts_with("x")) return std::nullopt;
    return World::Reply{reply_to(query).a(1).octets, Millis(5)};
  });
  const int length = lastlight::test::kSanitized ? 2 : 8;  // seconds
  int refused = 0, hits = 0, cold = 0, asked_cold = 0;
  const Instant start = world.now;
  world.ask(edns_question("known.test"), pod(1), [](const World::Answer&) {});
  world.run_until(world.now + Millis(10));
  swallow = true;
  for (int ms = 10; ms < length * 1000; ++ms) {
    world.run_until(start + Millis(ms));
    for (int i = 0; i < 50; ++i) {
      world.ask(edns_question("x" + std::to_string(ms * 50 + i) + ".test"), pod(66),
                [&](const World::Answer& got) { refused += got.parsed.rcode() == kRefused && got.parsed.ede == 0; });
    }
    world.ask(edns_question("known.test"), pod(1),
              [&](const World::Answer& got) { hits += got.parsed.counts[1] == 1; });
    if (ms % 20 == 0) {
      ++asked_cold;
      world.ask(edns_question("c" + std::to_string(ms) + ".test"), pod(2),
                [&](const World::Answer& got) { cold += got.parsed.counts[1] == 1 && got.waited <= Millis(5); });
    }
    REQUIRE(world.forwarder.flights() <= 1024 + 64);
  }
  world.run_until(world.now + Seconds(10));
  CHECK(world.forwarder.cache_counters().bytes <= mib(4).count);
  CHECK(hits == length * 1000 - 10);
  CHECK(cold == asked_cold);
  CHECK(refused > length * 1000 * 40);
  CHECK(world.forwarder.counters().client_full == static_cast<std::uint64_t>(refused));
  CHECK(world.forwarder.counters().flights_full == 0);
  CHECK(world.unanswered() == 0);
}

TEST_CASE("A client over its bound still gets what is known, expired or not") {
  auto config = one_zone();
  config.max_per_client = 2;
  bool silent = false;
  World world(config, [&](ByteView query, Instant) -> std::optional<World::Reply> {
    if (silent) return std::nullopt;
    return World::Reply{reply_to(query).a(5).octets, Millis(1)};
  });
  const auto ignore = [](const World::Answer&) {};
  world.ask(edns_question("known.test"), pod(1), ignore);
  world.run_until(world.now + Seconds(6));
  silent = true;
  world.ask(edns_question("a.test"), pod(1), ignore);
  world.ask(edns_question("b.test"), pod(1), ignore);
  int rcode = -1, ede = -1;
  const auto note = [&](const World::Answer& got) {
    rcode = got.parsed.rcode();
    ede = got.parsed.ede;
    CHECK(got.waited == Duration{0});
  };
  world.ask(edns_question("c.test"), pod(1), note);
  CHECK(rcode == kRefused);
  CHECK(ede == 0);
  world.ask(edns_question("known.test"), pod(1), note);
  CHECK(rcode == kNoError);
  CHECK(ede == 3);
  CHECK(world.forwarder.counters().client_full == 2);
}

TEST_CASE("Thousands of pods start in one second: each name is asked for once, and everybody is answered once") {
  World world(one_zone(), [](ByteView query, Instant) -> std::optional<World::Reply> {
    return World::Reply{reply_to(query).a(30).octets, Millis(20)};
  });
  constexpr std::uint32_t kPods = 4000;
  std::uint32_t same = 0, own = 0;
  for (std::uint32_t n = 0; n < kPods; ++n) {
    world.at(world.now + n * Seconds(1) / kPods, [&, n] {
      const std::string mine = "db" + std::to_string(n % 500) + ".test";
      world.ask(edns_question("api.test"), pod(n), [&](const World::Answer& got) { same += got.parsed.counts[1]; });
      world.ask(edns_question(mine), pod(n), [&](const World::Answer& got) { own += got.parsed.counts[1]; });
    });
  }
  world.run_until(world.now + Seconds(2));
  CHECK(same == kPods);
  CHECK(own == kPods);
  CHECK(world.asked == 501);
  CHECK(world.unanswered() == 0);
}

TEST_CASE("1,000 clients, one cold name: one question, each its answer with its own ID") {
  World world(one_zone(), [](ByteView query, Instant) -> std::optional<World::Reply> {
    return World::Reply{reply_to(query).a(30).octets, Millis(20)};
  });
  std::uint16_t right = 0;
  for (std::uint16_t i = 0; i < 1000; ++i) {
    world.ask(edns_question(i % 2 == 0 ? "cold.test" : "cOLd.test", kTypeA, i), pod(i),
              [&, i](const World::Answer& got) {
                right += got.parsed.id == i && got.parsed.question[2] == (i % 2 == 0 ? 'o' : 'O');
              });
  }
  world.run_until(world.now + Seconds(1));
  CHECK(world.asked == 1);
  CHECK(right == 1000);
}
