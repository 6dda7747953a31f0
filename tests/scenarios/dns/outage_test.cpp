// CoreDNS goes silent, or fails, under a node that goes on asking. RFC 8767, 9520.
#include "tests/scenarios/dns/world.h"
#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

namespace {

constexpr int kNames = 300;

DnsConfig one_zone() {
  DnsConfig config;
  config.zones = {ZoneConfig{}};
  return config;
}

struct Seen {
  int answers = 0;
  int failures = 0;
  int stale = 0;
  Duration longest{};
};

// `kNames` names, each asked for once a second, spread over it.
void steady_load(World& world, Instant from, Duration length, Seen& seen) {
  for (Instant second = from; second < from + length; second += Seconds(1)) {
    for (int n = 0; n < kNames; ++n) {
      world.at(second + n * Seconds(1) / kNames, [&world, &seen, n] {
        world.ask(edns_question("n" + std::to_string(n) + ".shop.svc.cluster.local"), pod(1),
                  [&seen](const World::Answer& got) {
                    ++seen.answers;
                    if (got.parsed.rcode() != kNoError || got.parsed.counts[1] != 1) ++seen.failures;
                    if (got.parsed.ede == 3) {
                      ++seen.stale;
                      if (got.parsed.records.at(0).ttl != 30) ++seen.failures;
                    }
                    seen.longest = std::max(seen.longest, got.waited);
                  });
      });
    }
  }
}

World::Upstream healthy_but(Instant from, Instant to) {
  return [from, to](ByteView query, Instant now) -> std::optional<World::Reply> {
    if (now >= from && now < to) return std::nullopt;
    return World::Reply{reply_to(query).a(30).octets, Millis(1)};
  };
}

}  // namespace

TEST_CASE("45 s of silence: no failure, nobody waits over 350 ms, and few questions go upstream") {
  const Instant start{std::chrono::hours(1)};
  const Instant silent = start + Seconds(60);
  World world(one_zone(), healthy_but(silent, silent + Seconds(45)));
  Seen before, during, after;
  steady_load(world, start, Seconds(60), before);
  world.run_until(silent);
  CHECK(before.failures == 0);
  CHECK(before.stale == 0);
  const auto asked = world.asked;
  steady_load(world, silent, Seconds(45), during);
  world.run_until(silent + Seconds(45));
  CHECK(during.answers == 45 * kNames);
  CHECK(during.failures == 0);
  CHECK(during.longest <= Millis(350));
  CHECK(during.stale > 5000);
  CHECK((world.asked - asked) * 3 < 600);  // three attempts each at the most
  steady_load(world, world.now, Seconds(12), after);
  world.run_until(world.now + Seconds(2));
  const int at_first = after.stale;
  world.run_until(world.now + Seconds(3));
  CHECK(after.stale - at_first < 50);  // the few names that were being asked for when CoreDNS came back
  const int later = after.stale;
  world.run_until(world.now + Seconds(8));
  CHECK(after.failures == 0);
  CHECK(after.stale == later);
  CHECK(world.unanswered() == 0);
}

TEST_CASE("10 minutes of silence: the same, with one question a second to find out") {
  const Instant start{std::chrono::hours(1)};
  const Instant silent = start + Seconds(40);
  World world(one_zone(), healthy_but(silent, silent + Seconds(600)));
  Seen before, during;
  steady_load(world, start, Seconds(40), before);
  world.run_until(silent);
  const auto asked = world.asked;
  steady_load(world, silent, Seconds(600), during);
  world.run_until(silent + Seconds(600));
  CHECK(during.answers == 600 * kNames);
  CHECK(during.failures == 0);
  CHECK(during.longest <= Millis(350));
  CHECK(world.asked - asked <= 700);
}

TEST_CASE("Names in use are asked again before they expire, each at its own time, and nobody waits") {
  const Instant start{std::chrono::hours(1)};
  World world(one_zone(), healthy_but(kNever, kNever));
  Seen first, later;
  steady_load(world, start, Seconds(5), first);
  world.run_until(start + Seconds(5));
  int most = 0;
  steady_load(world, world.now, Seconds(60), later);
  for (int second = 0; second < 60; ++second) {
    const auto asked = world.asked;
    world.run_until(world.now + Seconds(1));
    most = std::max(most, static_cast<int>(world.asked - asked));
  }
  CHECK(later.longest == Duration{0});
  CHECK(world.forwarder.counters().prefetched >= 2 * kNames);
  CHECK(world.forwarder.counters().prefetched <= 3 * kNames);
  CHECK(most < kNames * 3 / 4);  // all first came within one second
}

TEST_CASE("SERVFAIL for everything: what was known stays, each name is asked again every 30 s") {
  const Instant start{std::chrono::hours(1)};
  bool broken = false;
  World world(one_zone(), [&](ByteView query, Instant) -> std::optional<World::Reply> {
    if (broken) return World::Reply{reply_to(query, kServFail).octets, Millis(1)};
    return World::Reply{reply_to(query).a(30).octets, Millis(1)};
  });
  Seen seen;
  steady_load(world, start, Seconds(10), seen);
  world.run_until(start + Seconds(10));
  broken = true;
  const auto asked = world.asked;
  steady_load(world, world.now, Seconds(120), seen);
  world.run_until(world.now + Seconds(120));
  CHECK(seen.failures == 0);
  CHECK(seen.longest <= Millis(1));
  CHECK(world.asked - asked <= 5 * kNames);
}

TEST_CASE("One name whose target is slow leaves the others of its zone alone") {
  World world(one_zone(), [](ByteView query, Instant) -> std::optional<World::Reply> {
    const bool slow = name_of(query).starts_with("slow");
    return World::Reply{reply_to(query).a(1).octets, slow ? Duration(Seconds(2)) : Millis(1)};
  });
  int waited = 0, stale = 0;
  const Instant known = world.now + Seconds(3);  // before the first slow answer, silence and slowness look the same
  for (int i = 0; i < 2000; ++i) {
    world.at(world.now + Millis(10 * i), [&world, i] {
      world.ask(edns_question("slow" + std::to_string(i % 50) + ".test"), pod(2), [](const World::Answer&) {});
    });
    world.at(world.now + Millis(10 * i + 5), [&] {
      world.ask(edns_question("quick.test"), pod(1), [&](const World::Answer& got) {
        waited += got.waited > Millis(1);
        stale += got.parsed.ede == 3 && world.now > known;
      });
    });
  }
  world.run_until(world.now + Seconds(30));
  CHECK(waited == 0);
  CHECK(stale == 0);
  CHECK(world.unanswered() == 0);
}
