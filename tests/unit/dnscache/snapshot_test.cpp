// The cache's image: what comes through and with which TTLs, that nothing wrong does, and its bounds.
#include "dnscache/snapshot.h"

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "dnscache/query.h"

#include "tests/support/catch.h"
#include "tests/support/random.h"
#include "tests/unit/dnscache/forwarder_rig.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;
using Seconds = std::chrono::seconds;

namespace {

constexpr Endpoint kFrom{IpAddress(), 53};

ByteBuffer image_of(Forwarder& forwarder, Instant now) {
  ByteBuffer out, slice;
  forwarder.begin_image(now);
  for (bool more = true; more;) {
    more = forwarder.image_slice(slice, now);
    out.insert(out.end(), slice.begin(), slice.end());
  }
  slice = forwarder.end_image();
  out.insert(out.end(), slice.begin(), slice.end());
  return out;
}

void learn(Rig& rig, const ByteBuffer& query, const ByteBuffer& reply) {
  REQUIRE(rig.ask(query).empty());
  REQUIRE(rig.last.ask);
  REQUIRE(rig.forwarder.on_reply(rig.last.ask->flight, reply, rig.now, kFrom).size() == 1);
}

// What a person would be told of each way a name was asked; equal texts, equal answers, ages and counts.
std::string told(const Forwarder& forwarder, const std::string& name, std::uint16_t type, Instant now) {
  std::string out;
  for (const auto& kept : forwarder.look_up(name, type, now)) {
    out += kept.name + " " + std::to_string(kept.type) + " " + std::to_string(kept.rcode) + " age " +
           std::to_string(kept.age) + " left " + std::to_string(kept.left.count()) + " hits " +
           std::to_string(kept.hits) + " from " + (kept.from ? kept.from->to_string() : "nobody") +
           (kept.dnssec_ok ? " DO" : "") + (kept.checking_disabled ? " CD" : "") + " " +
           std::string(kept.message.begin(), kept.message.end()) + "\n";
  }
  return out;
}

// One entry as it should be, to be spoilt.
struct Entry {
  ByteBuffer query = query_for("web.test");
  ByteBuffer key = key_octets();
  ByteBuffer message = reply_for("web.test").a(30).octets;
  std::vector<std::uint16_t> ttl_at = {};
  SnapshotEntry entry = entry_kept_for(Seconds(30));

  static SnapshotEntry entry_kept_for(Duration ttl) {
    SnapshotEntry out;
    out.record.stored = Instant{Seconds(100)};
    out.record.expires = out.record.stored + ttl;
    return out;
  }

  ByteBuffer key_octets() const {
    Query read;
    REQUIRE(read_query(query, read) == Reading::Query);
    const Key made(read);
    return {made.view().begin(), made.view().end()};
  }
  ByteBuffer image(Instant written = Instant{Seconds(100)}) {
    SnapshotWriter writer({.written = written, .sources = {kFrom}});
    ByteBuffer out = writer.take();
    entry.record.key = key;
    entry.record.answer.message = message;
    writer.add(entry);
    const ByteBuffer rest = writer.end();
    out.insert(out.end(), rest.begin(), rest.end());
    return out;
  }
};

std::optional<SnapshotDefect> defect_of(ByteView image, Instant now = Instant{Seconds(100)}) {
  const auto read = read_snapshot(image, now, [](const Snapshot&, const SnapshotEntry&) {});
  return read ? std::nullopt : std::optional(read.error());
}

}  // namespace

TEST_CASE("An image brings answers over with their age, TTL, hits, source and bits, and they go on ageing") {
  Rig old, fresh;
  learn(old, query_for("web.test"), reply_for("web.test").a(30).octets);
  learn(old, query_for("web.test", 1, kTypeAaaa), reply_for("web.test", 0, kTypeAaaa).soa(20, 10).octets);
  learn(old, query_for("gone.test"), reply_for("gone.test", kNxDomain).soa(20, 10).octets);
  learn(old, edns_query("web.test", 1232, kEdnsDo), reply_for("web.test").a(30).octets);
  old.ask(query_for("web.test"));
  old.now += Seconds(4);
  const auto image = image_of(old.forwarder, old.now);
  CHECK(fresh.forwarder.restore(image, old.now) == 4U);
  CHECK(fresh.forwarder.cache_counters().restored == 4);
  fresh.now = old.now + Seconds(3);
  for (const Instant later : {fresh.now, fresh.now + Seconds(15), fresh.now + Seconds(40)}) {
    for (const auto type : {kTypeA, kTypeAaaa})
      CHECK(told(fresh.forwarder, "web.test", type, later) == told(old.forwarder, "web.test", type, later));
    CHECK(told(fresh.forwarder, "gone.test", kTypeA, later) == told(old.forwarder, "gone.test", kTypeA, later));
  }
  const auto answer = parse(fresh.ask(query_for("WEB.test")));
  CHECK(answer.records.at(0).ttl == 23);
  CHECK_FALSE(fresh.last.ask);
}

TEST_CASE("Failures stay behind, expired answers come along for the stale window") {
  Rig old, fresh;
  learn(old, query_for("web.test"), reply_for("web.test").a(30).octets);
  learn(old, query_for("broken.test"), reply_for("broken.test", kServFail).octets);
  const Instant expired = old.now + Seconds(60);
  CHECK(fresh.forwarder.restore(image_of(old.forwarder, old.now), old.now) == 1U);
  Rig later;
  CHECK(later.forwarder.restore(image_of(old.forwarder, expired), expired) == 1U);
  CHECK(later.forwarder.look_up("web.test", kTypeA, expired).at(0).left == -Seconds(30));
  CHECK(told(fresh.forwarder, "web.test", kTypeA, expired) == told(later.forwarder, "web.test", kTypeA, expired));
}

TEST_CASE("Answers of a zone that is asked elsewhere now stay behind") {
  const auto upstream = [](const char* address) {
    AddressSpec out;
    out.address = IpAddress::parse(address).value();
    return out;
  };
  DnsConfig config;
  config.zones = {{.name = "cluster.local", .upstreams = {upstream("10.0.0.1")}},
                  {.name = ".", .upstreams = {upstream("10.0.0.2")}}};
  Rig old(config);
  for (const auto* name : {"web.cluster.local", "web.example.org", "web.stub.test"})
    learn(old, query_for(name), reply_for(name).a(30).octets);
  const ByteBuffer image = image_of(old.forwarder, old.now);
  const auto restored = [&](const DnsConfig& other) { return Rig(other).forwarder.restore(image, old.now); };
  CHECK(restored(config) == 3U);
  DnsConfig moved = config;
  moved.zones[1].upstreams = {upstream("10.0.0.3")};
  CHECK(restored(moved) == 1U);
  DnsConfig stub = config;
  stub.zones.push_back({.name = "stub.test", .upstreams = {upstream("10.0.0.2")}});
  CHECK(restored(stub) == 2U);
  DnsConfig uncached = config;
  uncached.zones[0].cache = false;
  CHECK(restored(uncached) == 2U);
  DnsConfig over_tcp = config;
  over_tcp.zones[0].protocol = Protocol::Tcp;
  CHECK(restored(over_tcp) == 2U);
}

TEST_CASE("An image cut short or changed anywhere is no image, and nothing of it is kept") {
  Rig old;
  learn(old, query_for("web.test"), reply_for("web.test").a(30).octets);
  learn(old, query_for("gone.test"), reply_for("gone.test", kNxDomain).soa(20, 10).octets);
  ByteBuffer image = image_of(old.forwarder, old.now);
  Rig fresh;
  const auto bad = [&](ByteView octets) {
    const bool refused = !fresh.forwarder.restore(octets, old.now);
    return refused && fresh.forwarder.cache_counters().entries == 0;
  };
  for (std::size_t size = 0; size < image.size(); ++size)
    CHECK(bad(ByteView(image).first(size)));
  for (std::uint8_t& octet : image) {
    for (const int change : {0x01, 0x80, 0xFF}) {
      octet = static_cast<std::uint8_t>(octet ^ change);
      CHECK(bad(image));
      octet = static_cast<std::uint8_t>(octet ^ change);
    }
  }
  ByteBuffer longer = image;
  longer.push_back(0);
  CHECK(bad(longer));
  CHECK(fresh.forwarder.restore(image, old.now) == 2U);
}

TEST_CASE("Another version, another time: refused by name") {
  Entry good;
  ByteBuffer image = good.image();
  CHECK_FALSE(defect_of(image));
  CHECK_FALSE(defect_of(image, Instant{Seconds(160)}));
  CHECK(defect_of(image, Instant{Seconds(161)}) == SnapshotDefect::Age);
  CHECK(defect_of(image, Instant{Seconds(99)}) == SnapshotDefect::Age);
  store32(image, 8, Snapshot::kVersion + 1);
  CHECK(defect_of(image) == SnapshotDefect::Version);
  image[0] = 'x';
  CHECK(defect_of(image) == SnapshotDefect::Version);
  CHECK(defect_of({}) == SnapshotDefect::Truncated);
}

TEST_CASE("Hostile entries under right checksums are refused") {
  const auto spoilt = [](auto spoil) {
    Entry entry;
    spoil(entry);
    return defect_of(entry.image()) == SnapshotDefect::Malformed;
  };
  CHECK_FALSE(spoilt([](Entry&) {}));
  // Times: kept before it was asked, for ever, in the future, longer than its TTL says.
  CHECK(spoilt([](Entry& e) { e.entry.record.expires = e.entry.record.stored; }));
  CHECK(spoilt([](Entry& e) { e.entry.record.expires = kNever; }));
  CHECK(spoilt([](Entry& e) { e.entry.record.stored = Instant{Seconds(-5)}; }));
  CHECK(spoilt([](Entry& e) { e.entry.record.expires += Duration{1}; }));
  CHECK(spoilt([](Entry& e) {
    e.entry.record.stored += Seconds(1);
    e.entry.record.expires += Seconds(1);
  }));
  // Keys.
  CHECK(spoilt([](Entry& e) { e.key.clear(); }));
  CHECK(spoilt([](Entry& e) { e.key[0] = 8; }));
  CHECK(spoilt([](Entry& e) { e.key[2] = 'W'; }));
  CHECK(spoilt([](Entry& e) { e.key[1] = 0xC0; }));
  CHECK(spoilt([](Entry& e) { e.key.insert(e.key.begin() + 1, 64, std::uint8_t{0}); }));
  CHECK(spoilt([](Entry& e) { e.key.pop_back(); }));
  // Messages: of another question, not an answer, a failure, cut, with more or fewer records than they say, with OPT.
  CHECK(spoilt([](Entry& e) { e.message = reply_for("web2.test").a(30).octets; }));
  CHECK(spoilt([](Entry& e) { e.message = reply_for("web.test", 0, kTypeAaaa).a(30).octets; }));
  CHECK(spoilt([](Entry& e) { e.message = e.query; }));
  CHECK(spoilt([](Entry& e) { e.message = reply_for("web.test", kServFail).a(30).octets; }));
  CHECK(spoilt([](Entry& e) { e.message = reply_for("web.test").octets; }));
  CHECK(spoilt([](Entry& e) { store16(e.message, 2, kQr | kTc); }));
  CHECK(spoilt([](Entry& e) { e.message.push_back(0); }));
  CHECK(spoilt([](Entry& e) { store16(e.message, 6, 2); }));
  CHECK(spoilt([](Entry& e) { e.message = reply_for("web.test").a(30).opt(1232).octets; }));
  CHECK(spoilt([](Entry& e) { e.message.resize(11); }));
  CHECK(spoilt([](Entry& e) { e.message.clear(); }));
}

TEST_CASE("Property: whatever is kept, its successor tells the same of it, at every later time") {
  std::mt19937_64 random = lastlight::test::seeded_random("snapshot");
  for (int round = 0; round < 20; ++round) {
    Rig old, fresh;
    std::vector<std::string> names;
    for (int i = 0; i < 40; ++i) {
      names.push_back("n" + std::to_string(random() % 1000) + "." + std::string(1 + random() % 60, 'x') + ".test");
      const auto query =
          random() % 3 == 0 ? edns_query(names.back(), 1232, random() % 2 ? kEdnsDo : 0) : query_for(names.back(), 1);
      const auto ttl = static_cast<std::uint32_t>(1 + random() % 4000);
      if (old.ask(query).empty() && old.last.ask) {
        auto reply = random() % 4 == 0 ? reply_for(names.back(), kNxDomain).soa(ttl, ttl) : reply_for(names.back());
        for (std::uint64_t n = random() % 4; n > 0; --n)
          reply.a(ttl + static_cast<std::uint32_t>(n));
        old.forwarder.on_reply(old.last.ask->flight, reply.octets, old.now, kFrom);
      }
      for (std::uint64_t n = random() % 3; n > 0; --n)
        old.ask(query);
      old.now += std::chrono::milliseconds(random() % 3000);
    }
    const ByteBuffer image = image_of(old.forwarder, old.now);
    REQUIRE(fresh.forwarder.restore(image, old.now + Seconds(random() % 60)));
    for (int i = 0; i < 3; ++i) {
      const Instant later = old.now + Seconds(60 + random() % 7200);
      for (const std::string& name : names)
        CHECK(told(fresh.forwarder, name, kTypeA, later) == told(old.forwarder, name, kTypeA, later));
    }
  }
}

TEST_CASE("Bounds: slices and the whole, what is in use first, while the cache changes") {
  DnsConfig config = config_with();
  config.cache_size = mib(8);
  Rig old(config);
  const auto name = [](int i) { return "host" + std::to_string(i) + ".shop.svc.cluster.local"; };
  constexpr int kNames = 24'000, kInUse = 6'000;
  for (int i = 0; i < kNames; ++i)
    learn(old, query_for(name(i)), reply_for(name(i)).a(3600).octets);
  for (int i = 0; i < kInUse; ++i)
    old.ask(query_for(name(4 * i)));
  ByteBuffer image, slice;
  Duration longest{};
  std::size_t largest = 0;
  int slices = 0;
  old.forwarder.begin_image(old.now);
  for (bool more = true; more;) {
    const auto began = std::chrono::steady_clock::now();
    more = old.forwarder.image_slice(slice, old.now);
    longest = std::max<Duration>(longest, std::chrono::steady_clock::now() - began);
    largest = std::max(largest, slice.size());
    image.insert(image.end(), slice.begin(), slice.end());
    // What comes meanwhile is no obstacle.
    const std::string late = "late" + std::to_string(slices++) + ".test";
    learn(old, query_for(late), reply_for(late).a(60).octets);
  }
  slice = old.forwarder.end_image();
  image.insert(image.end(), slice.begin(), slice.end());
  Rig fresh(config);
  const auto began = std::chrono::steady_clock::now();
  const auto kept = fresh.forwarder.restore(image, old.now);
  const Duration reading = std::chrono::steady_clock::now() - began;
  REQUIRE(kept);
  std::printf("an image of %zu octets: %zu answers, longest slice %.0f us, read in %.1f ms\n", image.size(), *kept,
              seconds(longest) * 1e6, seconds(reading) * 1e3);
  CHECK(largest < Snapshot::kBlock + kib(64).count + 64);
  CHECK(image.size() < config.cache_size.count / 4 + 2 * Snapshot::kBlock);
  CHECK(*kept > kInUse);
  int missing = 0;
  for (int i = 0; i < kInUse; ++i)
    missing += fresh.forwarder.look_up(name(4 * i), kTypeA, old.now).empty() ? 1 : 0;
  CHECK(missing == 0);
}

TEST_CASE("The format is what version 1 wrote: an image from the corpus is read as ever") {
  std::ifstream file("tests/fuzz/corpus/cache_image/image", std::ios::binary);
  const ByteBuffer image{std::istreambuf_iterator<char>(file), {}};
  Rig rig;
  REQUIRE(Snapshot::kVersion == 1);  // another version: another file, and another name for this test
  CHECK(rig.forwarder.restore(image, Instant{std::chrono::hours(1)}) == 2U);
  CHECK(rig.forwarder.look_up("gone.test", kTypeA, rig.now).at(0).left == Seconds(5));
}

TEST_CASE("An image that is ended early is whole: nothing, or what was in it by then") {
  Rig old, fresh;
  learn(old, query_for("web.test"), reply_for("web.test").a(30).octets);
  old.forwarder.begin_image(old.now);
  const ByteBuffer nothing = old.forwarder.end_image();
  CHECK(fresh.forwarder.restore(nothing, old.now) == 0U);
}

TEST_CASE("A smaller cache takes what fits") {
  DnsConfig small = config_with();
  small.cache_size = kib(64);
  Rig old, fresh(small);
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "n" + std::to_string(i) + ".test";
    learn(old, query_for(name), reply_for(name).a(30).octets);
  }
  const auto kept = fresh.forwarder.restore(image_of(old.forwarder, old.now), old.now);
  REQUIRE(kept);
  CHECK((*kept > 50 && *kept < 1000));
  CHECK(fresh.forwarder.cache_counters().bytes <= kib(64).count);
}
