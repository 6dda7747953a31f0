// Expired answers: when they are served, what replaces them, how long they last. RFC 8767, 8914 s4.4 and s4.20.
#include "tests/scenarios/dns/world.h"
#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

namespace {

enum class Mode { Answers, Nxdomain, NoData, Silent, ServFail, Refused, Slow, Malformed };

struct Rig {
  explicit Rig(DnsConfig config = {}) : world(zoned(std::move(config)), behaviour()) {}

  static DnsConfig zoned(DnsConfig config) {
    if (config.zones.empty()) config.zones = {ZoneConfig{}};
    return config;
  }
  World::Upstream behaviour() {
    return [this](ByteView query, Instant) -> std::optional<World::Reply> {
      auto good = reply_to(query).a(ttl, address);
      switch (mode) {
        case Mode::Answers:
          return World::Reply{good.octets, Millis(1)};
        case Mode::Slow:
          return World::Reply{good.octets, Seconds(4)};
        case Mode::Nxdomain:
          return World::Reply{reply_to(query, kNxDomain).soa(60, 10).octets, Millis(1)};
        case Mode::NoData:
          return World::Reply{reply_to(query).soa(60, 10).octets, Millis(1)};
        case Mode::ServFail:
          return World::Reply{reply_to(query, kServFail).octets, Millis(1)};
        case Mode::Refused:
          return World::Reply{reply_to(query, kRefused).octets, Millis(1)};
        case Mode::Malformed:
          good.octets.pop_back();
          return World::Reply{good.octets, Millis(1)};
        case Mode::Silent:
          return std::nullopt;
      }
      return std::nullopt;
    };
  }
  // Asks and waits for the answer.
  World::Answer ask(std::string_view name = "a.test") {
    std::optional<World::Answer> got;
    world.ask(edns_question(name), pod(1), [&](const World::Answer& answer) { got = answer; });
    for (int i = 0; i < 100 && !got; ++i)
      world.run_until(world.now + Millis(100));
    REQUIRE(got);
    return *got;
  }
  void pass(Duration time) { world.run_until(world.now + time); }

  Mode mode = Mode::Answers;
  std::uint32_t ttl = 30;
  std::uint8_t address = 1;
  World world;
};

void check_stale(const World::Answer& got, int ede = 3, std::uint32_t ttl = 30) {
  CHECK(got.parsed.ede == ede);
  CHECK(got.parsed.records.at(0).ttl == ttl);
}

}  // namespace

TEST_CASE("RFC 8767 s5: a client waits 1.8 s, or 300 ms for a name lately in use, then gets the expired answer") {
  Rig rig;
  rig.ask();
  rig.mode = Mode::Silent;
  rig.pass(Seconds(60));
  auto got = rig.ask();
  CHECK(got.waited == Millis(300));
  check_stale(got);
  CHECK(got.parsed.rcode() == kNoError);
  rig.ask("other.test");
  rig.mode = Mode::Answers;
  rig.pass(Seconds(10));
  rig.ask();  // fresh again, the outage over
  rig.pass(Seconds(30 + 301));
  rig.mode = Mode::Silent;
  got = rig.ask();
  CHECK(got.waited == Millis(1800));
  check_stale(got);
}

TEST_CASE("RFC 8767 s5: the question goes on without the client, and what comes late is kept") {
  Rig rig;
  rig.ask();
  rig.pass(Seconds(31));
  rig.mode = Mode::Slow;
  rig.address = 2;
  const auto asked = rig.world.asked;
  check_stale(rig.ask());
  check_stale(rig.ask());  // beside the question in flight, at once
  CHECK(rig.world.asked == asked + 1);
  rig.pass(Seconds(4));
  const auto got = rig.ask();
  CHECK(got.waited == Duration{0});
  CHECK(got.parsed.ede == -1);
  CHECK(got.message.at(got.parsed.records.at(0).rdata_at + 3) == 2);
}

TEST_CASE("A cold name that is answered after its client has gone is kept, too") {
  Rig rig;
  rig.mode = Mode::Slow;
  CHECK(rig.ask().waited == Seconds(4));
  CHECK(rig.ask().waited == Duration{0});
}

TEST_CASE("RFC 8767 s5: SERVFAIL, REFUSED, silence and nonsense never take away what is known; it is left alone 30 s") {
  for (const Mode mode : {Mode::ServFail, Mode::Refused, Mode::Malformed}) {
    Rig rig;
    rig.ask();
    rig.pass(Seconds(31));
    rig.mode = mode;
    const auto asked = rig.world.asked;
    const auto got = rig.ask();
    CHECK(got.waited <= Millis(100));
    check_stale(got);
    rig.pass(Seconds(29));
    check_stale(rig.ask());
    CHECK(rig.world.asked == asked + 1);
    rig.pass(Seconds(2));
    check_stale(rig.ask());
    CHECK(rig.world.asked == asked + 2);
    rig.mode = Mode::Answers;
    rig.pass(Seconds(31));
    CHECK(rig.ask().parsed.ede == -1);
  }
}

TEST_CASE("RFC 8767 s5: NXDOMAIN and NODATA of an upstream that answers replace what expired") {
  for (const Mode mode : {Mode::Nxdomain, Mode::NoData}) {
    Rig rig;
    rig.ask();
    rig.pass(Seconds(31));
    rig.mode = mode;
    const auto got = rig.ask();
    CHECK(got.parsed.rcode() == (mode == Mode::Nxdomain ? kNxDomain : kNoError));
    CHECK(got.parsed.counts[1] == 0);
    CHECK(got.parsed.ede == -1);
  }
}

TEST_CASE("last-known-good: NXDOMAIN and NODATA do not, for as long as the zone says") {
  DnsConfig config;
  config.zones = {ZoneConfig{}};
  config.zones[0].last_known_good = std::chrono::minutes(10);
  for (const Mode mode : {Mode::Nxdomain, Mode::NoData}) {
    Rig rig(config);
    rig.ask();
    rig.pass(Seconds(31));
    rig.mode = mode;
    check_stale(rig.ask());
    CHECK(rig.world.forwarder.counters().last_known_good == 1);
    rig.pass(Seconds(601));
    CHECK(rig.ask().parsed.counts[1] == 0);
    CHECK(rig.ask("never.test").parsed.counts[1] == 0);
  }
}

TEST_CASE("RFC 8914 s4.20: a stale NXDOMAIN says so, and is believed no longer than a fresh one") {
  Rig rig;
  rig.mode = Mode::Nxdomain;
  rig.ask();
  rig.pass(Seconds(11));
  rig.mode = Mode::Silent;
  const auto got = rig.ask();
  CHECK(got.parsed.rcode() == kNxDomain);
  check_stale(got, 19, 30);
  DnsConfig config;
  config.zones = {ZoneConfig{}};
  config.zones[0].max_negative_ttl = Seconds(5);
  Rig cluster(config);
  cluster.mode = Mode::Nxdomain;
  cluster.ask();
  cluster.pass(Seconds(6));
  cluster.mode = Mode::Silent;
  check_stale(cluster.ask(), 19, 5);
}

TEST_CASE("The stale window ends: max-stale after the TTL there is nothing to serve; 0s turns it off") {
  for (const Duration window : {Duration(Seconds(100)), Duration{0}}) {
    DnsConfig config;
    config.max_stale = window;
    Rig rig(config);
    rig.ask();
    rig.mode = Mode::Silent;
    if (window > Duration{0}) {
      rig.pass(Seconds(125));
      check_stale(rig.ask());
      rig.pass(Seconds(10));
    } else {
      rig.pass(Seconds(31));
    }
    const auto got = rig.ask();
    CHECK(got.parsed.rcode() == kServFail);
    CHECK(got.parsed.ede == 22);
  }
}

TEST_CASE("RFC 9520 s3.2: without anything known a failure is remembered for failure-ttl, and never served stale") {
  Rig rig;
  rig.mode = Mode::Silent;
  CHECK(rig.ask().parsed.ede == 22);
  CHECK(rig.ask().parsed.ede == 13);
  rig.pass(Seconds(2));
  CHECK(rig.ask().parsed.ede == 22);
  CHECK(rig.world.asked == 2);
}

TEST_CASE("RFC 2181 s8: an answer with TTL 0 is for its waiters alone, also as a stale one") {
  Rig rig;
  rig.ttl = 0;
  rig.ask();
  rig.mode = Mode::Silent;
  CHECK(rig.ask().parsed.rcode() == kServFail);
}
