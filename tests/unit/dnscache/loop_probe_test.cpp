#include "dnscache/loop_probe.h"

#include <random>
#include <set>

#include "dnscache/query.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace std::chrono_literals;

namespace {
const Endpoint kOther = *Endpoint::parse("192.0.2.1", 53);
const Endpoint kOurselves = *Endpoint::parse("192.0.2.2", 53);
const Instant kStart{std::chrono::hours(1)};

struct Prober {
  std::mt19937_64 random{1};
  LoopProbe probe{[this] { return static_cast<std::uint16_t>(random()); }};
  ByteBuffer out = ByteBuffer(4096);
  std::size_t sent = 0;

  // Runs until `end`; a probe to `looping` comes in again.
  bool run(Instant end, const Endpoint& looping) {
    bool changed = false;
    while (probe.next() <= end) {
      auto step = probe.on_time(probe.next());
      changed |= step.changed;
      for (const auto& send : step.sends) {
        ++sent;
        if (send.to != looping) continue;
        const auto found = probe.on_query(send.query, out);
        REQUIRE(found);
        CHECK(found->upstream == looping);
        changed |= found->newly;
      }
    }
    return changed;
  }
};
}  // namespace

TEST_CASE("an upstream that is ourselves is barred within a second, the other stays", "[loop_probe]") {
  Prober p;
  p.probe.set_upstreams(0, "example.org", {kOther, kOurselves}, kStart);
  CHECK(p.run(kStart + 1s, kOurselves));
  CHECK(p.probe.barred(0, kOurselves));
  CHECK_FALSE(p.probe.barred(0, kOther));
  CHECK_FALSE(p.probe.barred(1, kOurselves));
  CHECK(p.probe.barred_count() == 1);
  CHECK_FALSE(p.run(kStart + 10min, kOurselves));
  CHECK(p.probe.barred(0, kOurselves));
  SECTION("and is used again once two probes have stayed away") {
    CHECK(p.run(kStart + 12min, kOther) == true);
    CHECK_FALSE(p.probe.barred(0, kOurselves));
  }
  SECTION("what is known is kept when the list is given again, and forgotten with the upstream") {
    p.probe.set_upstreams(0, "example.org", {kOurselves}, kStart + 10min);
    CHECK(p.probe.barred(0, kOurselves));
    p.probe.set_upstreams(0, "example.org", {}, kStart + 10min);
    CHECK(p.probe.barred_count() == 0);
    CHECK(p.probe.next() == kNever);
  }
}

TEST_CASE("probes are few, random, and questions below the zone", "[loop_probe]") {
  Prober p;
  const std::string zone = GENERATE("example.org", ".");
  p.probe.set_upstreams(0, zone, {kOther}, kStart);
  std::set<ByteBuffer> names;
  for (int i = 0; i < 12; ++i) {
    const auto step = p.probe.on_time(p.probe.next());
    REQUIRE(step.sends.size() == 1);
    Query query;
    REQUIRE(read_query(step.sends[0].query, query) == Reading::Query);
    const ByteView below = query.name().subspan(33);
    CHECK(same_name(below, Name::parse(zone)->view()));
    names.insert(ByteBuffer(query.name().begin(), query.name().end()));
  }
  CHECK(names.size() == 12);
  CHECK(p.probe.next() >= kStart + 50min);
}

TEST_CASE("only our own probe is taken for one: case does not matter, a reply is none", "[loop_probe]") {
  Prober p;
  p.probe.set_upstreams(0, ".", {kOther}, kStart);
  ByteBuffer query(64);
  CHECK_FALSE(p.probe.on_query(query, p.out));
  query[12] = 32;
  CHECK_FALSE(p.probe.on_query(query, p.out));  // nothing was sent yet
  query = p.probe.on_time(kStart + 1s).sends.at(0).query;
  ByteBuffer changed = query;
  changed[20] ^= 1;
  CHECK_FALSE(p.probe.on_query(changed, p.out));
  CHECK_FALSE(p.probe.on_query(ByteView(query).first(40), p.out));
  changed = query;
  changed[2] |= 0x80;
  CHECK_FALSE(p.probe.on_query(changed, p.out));
  for (std::size_t i = 13; i < 45; ++i) {
    if (query[i] >= 'a') query[i] = static_cast<std::uint8_t>(query[i] - 0x20);
  }
  const auto found = p.probe.on_query(query, p.out);
  REQUIRE(found);
  CHECK(found->newly);
  CHECK(found->size == query.size());
  CHECK((p.out[2] & 0x80) != 0);
  CHECK((p.out[3] & 0x0f) == kRefused);
  CHECK_FALSE(p.probe.on_query(query, p.out)->newly);
}
