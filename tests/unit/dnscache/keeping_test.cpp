// The end of the node, another configuration, and what people ask of the cache.
#include "dnscache/hash.h"
#include "dnscache/sketch.h"

#include "tests/scenarios/dns/world.h"
#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

namespace {

AddressSpec spec(std::string_view address) {
  AddressSpec out;
  out.address = IpAddress::parse(address).value();
  return out;
}

ZoneConfig zone(std::string name, std::string upstream) {
  ZoneConfig out;
  out.name = std::move(name);
  out.upstreams = {spec(upstream)};
  return out;
}

DnsConfig two_zones() {
  DnsConfig config;
  config.zones = {zone("cluster.local", "10.0.0.1"), zone(".", "10.0.0.2")};
  return config;
}

std::optional<World::Reply> a_answer(ByteView query, Instant) {
  return World::Reply{reply_to(query).a(30).octets, Millis(1)};
}

struct Rig {
  World world{two_zones(), a_answer};
  // Whether it was answered at once.
  bool known(const std::string& name) {
    bool at_once = false;
    world.ask(edns_question(name), pod(1),
              [&](const World::Answer& got) { at_once = got.waited == Duration{0} && got.parsed.ede == -1; });
    world.run_until(world.now + Millis(5));
    return at_once;
  }
};

}  // namespace

TEST_CASE("Before the end: names in use are asked again, a few at a time, and are good for as long as the node lasts") {
  DnsConfig config = two_zones();
  config.max_stale = Seconds(60);
  bool silent = false;
  World world(config, [&](ByteView query, Instant now) { return silent ? std::nullopt : a_answer(query, now); });
  const auto ask = [&](const std::string& name) {
    int answers = 0;
    world.ask(edns_question(name), pod(1), [&](const World::Answer& got) { answers += got.parsed.counts[1]; });
    world.run_until(world.now + Seconds(1));
    return answers;
  };
  for (int n = 0; n < 100; ++n)
    ask("hot" + std::to_string(n % 50) + ".test");
  ask("once.test");
  world.run_until(world.now + Seconds(1));
  const auto asked = world.asked;
  world.forwarder.prepare_to_leave(world.now);
  world.run_until(world.now + Millis(15));
  CHECK(world.asked - asked == 32);  // 16 every 10 ms
  world.run_until(world.now + Seconds(1));
  CHECK(world.asked - asked == 50);
  silent = true;
  world.run_until(world.now + Seconds(300));
  int answers = 0;
  world.ask(edns_question("hot7.test"), pod(1), [&](const World::Answer& got) { answers += got.parsed.counts[1]; });
  world.run_until(world.now + Seconds(2));
  CHECK(answers == 1);
}

TEST_CASE("Another configuration keeps what is known, but for names that are asked elsewhere now") {
  Rig rig;
  for (const auto* name : {"web.cluster.local", "www.test", "a.corp.test"})
    CHECK_FALSE(rig.known(name));
  DnsConfig next = two_zones();
  next.cache_size = mib(1);
  next.zones.insert(next.zones.begin(), zone("corp.test", "10.0.0.9"));
  rig.world.forwarder.reconfigure(next, rig.world.now);
  CHECK(rig.known("web.cluster.local"));
  CHECK(rig.known("www.test"));
  CHECK_FALSE(rig.known("a.corp.test"));
  next.zones.erase(next.zones.begin());
  next.zones[1].upstreams = {spec("10.0.0.3")};
  rig.world.forwarder.reconfigure(next, rig.world.now);
  CHECK(rig.known("web.cluster.local"));
  CHECK_FALSE(rig.known("www.test"));
  CHECK_FALSE(rig.known("a.corp.test"));
}

TEST_CASE("A question in flight when its zone goes is answered, and its answer not kept") {
  Rig rig;
  int answers = 0;
  rig.world.ask(edns_question("a.test"), pod(1), [&](const World::Answer& got) { answers += got.parsed.counts[1]; });
  DnsConfig next = two_zones();
  next.zones.pop_back();
  rig.world.forwarder.reconfigure(next, rig.world.now);
  rig.world.run_until(rig.world.now + Millis(5));
  CHECK(answers == 1);
  CHECK(rig.world.forwarder.cache_counters().entries == 0);
}

TEST_CASE("An answer explains itself; a flush forgets it, or its zone, or everything") {
  Rig rig;
  for (const auto* name : {"web.cluster.local", "api.cluster.local", "www.test", "Www.Test"})
    rig.known(name);
  rig.world.run_until(rig.world.now + Seconds(10));
  auto& forwarder = rig.world.forwarder;
  const auto kept = forwarder.look_up("WWW.test.", kTypeA, rig.world.now);
  REQUIRE(kept.size() == 1);
  CHECK(kept[0].zone == ".");
  CHECK(kept[0].name == "www.test");
  CHECK(kept[0].age == 10);
  CHECK(kept[0].left > Seconds(19));
  CHECK(kept[0].hits == 1);
  CHECK(kept[0].answers == 1);
  CHECK(forwarder.look_up("www.test", kTypeAaaa, rig.world.now).empty());
  CHECK(forwarder.look_up("..", kTypeA, rig.world.now).empty());
  const auto top = forwarder.top(Forwarder::Top::Names, 2);
  REQUIRE(top.size() == 2);
  CHECK(top[0].name == "www.test");
  CHECK(top[0].zone == ".");
  CHECK(top[0].queries == 2);
  CHECK(forwarder.top(Forwarder::Top::Missing, 2).empty());
  CHECK(forwarder.flush("web.cluster.local", Forwarder::Flush::Name) == 1);
  CHECK(forwarder.flush("cluster.local", Forwarder::Flush::Name) == 0);
  CHECK(forwarder.flush("cluster.local", Forwarder::Flush::Zone) == 1);
  CHECK(forwarder.flush(".", Forwarder::Flush::Zone) == 1);
  CHECK(forwarder.cache_counters().entries == 0);
  CHECK(forwarder.top_clients(5).at(0).queries == 4);
}

TEST_CASE("The sketch finds what is frequent among thousands, and never counts too high") {
  Sketch sketch(16);
  const auto note = [&](const std::string& what, std::uint64_t times = 1) {
    const ByteBuffer octets(what.begin(), what.end());
    sketch.note(octets, hash_octets(octets, 7), times);
  };
  for (std::uint32_t i = 0; i < 200000; ++i) {
    note("pod" + std::to_string(i % 20000));
    if (i % 20 == 0) note("second");
    if (i % 40 == 0) note("the most, and longer than there is room", 4);
  }
  const auto top = sketch.top(2);
  REQUIRE(top.size() == 2);
  const auto text = [](ByteView octets) { return std::string(octets.begin(), octets.end()); };
  CHECK(text(top[0].what) == "the most, and lo");
  CHECK(text(top[1].what) == "second");
  CHECK(top[0].count <= 20000);
  CHECK(top[0].count > 15000);
  CHECK(sketch.top(5000).size() <= Sketch::kBuckets * Sketch::kPlaces);
}

TEST_CASE("Who waited, and got what had expired, is counted among those who ask") {
  bool silent = false, broken = false;
  Rig rig{.world = World(two_zones(), [&](ByteView query, Instant) -> std::optional<World::Reply> {
            if (silent) return std::nullopt;
            return World::Reply{broken ? reply_to(query, kServFail).octets : reply_to(query).a(5).octets, Millis(1)};
          })};
  int stale = 0;
  const auto ask = [&] {
    rig.world.run_until(rig.world.now + Seconds(40));
    rig.world.ask(edns_question("web.test"), pod(1), [&](const World::Answer& got) { stale += got.parsed.ede == 3; });
    rig.world.run_until(rig.world.now + Seconds(10));
  };
  rig.known("web.test");
  broken = true;
  ask();
  silent = true;
  ask();
  CHECK(stale == 2);
  CHECK(rig.world.forwarder.top(Forwarder::Top::Names, 1).at(0).queries == 3);
}

TEST_CASE("What is asked most is counted whether or not it is kept, however many names there are") {
  DnsConfig config = two_zones();
  config.cache_size = kib(64);
  config.zones[1].cache = false;
  Rig rig{.world = World(config, [](ByteView query, Instant) -> std::optional<World::Reply> {
            if (name_of(query).ends_with("gone.test"))
              return World::Reply{reply_to(query, kNxDomain).soa(30, 30).octets, Millis(1)};
            return World::Reply{reply_to(query).a(30).octets, Millis(1)};
          })};
  for (int i = 0; i < 400; ++i) {
    rig.known("a" + std::to_string(i) + ".cluster.local");
    rig.known("n" + std::to_string(i) + ".gone.test");
    if (i % 4 == 0) rig.known("Web.test");
    if (i % 2 == 0) rig.known("often.gone.test");
  }
  const auto& forwarder = rig.world.forwarder;
  CHECK(forwarder.top(Forwarder::Top::Names, 1).at(0).name == "web.test");
  CHECK(forwarder.top(Forwarder::Top::Names, 1).at(0).queries > 80);
  CHECK(forwarder.top(Forwarder::Top::Missing, 1).at(0).name == "often.gone.test");
  CHECK(forwarder.top(Forwarder::Top::Missing, 1).at(0).queries <= 200);
}
