#include "dnscache/cache.h"

#include <map>
#include <string>

#include "dnscache/hash.h"

#include "tests/support/catch.h"
#include "tests/support/random.h"

using namespace lastlight;
using namespace lastlight::dns;
using Seconds = std::chrono::seconds;

namespace {

ByteBuffer key_of(std::uint32_t n) {
  const std::string text = "key-" + std::to_string(n);
  return ByteBuffer(text.begin(), text.end());
}

void put(Cache& cache, std::uint32_t n, Duration ttl, Instant now, std::size_t size = 100) {
  const ByteBuffer message(size, static_cast<std::uint8_t>(n));
  const std::vector<std::uint16_t> ttl_at = {20, 36};
  cache.put(key_of(n), {message, ttl_at}, ttl, now);
}

struct Kept {
  ByteBuffer message;
  std::vector<std::uint16_t> ttl_at;
  bool failure;
  Instant stored;
  Instant expires;
};

}  // namespace

TEST_CASE("A property: whatever the history, a hit is what a map without bounds would say") {
  auto random = test::seeded_random("cache against a map");
  Cache cache(kib(64), random());
  std::map<std::uint32_t, Kept> model;
  Instant now{};
  std::uint64_t hits = 0;
  for (int step = 0; step < 60000; ++step) {
    const auto n = static_cast<std::uint32_t>(random() % 600);
    now += std::chrono::milliseconds(random() % 50);
    if (random() % 3 != 0) {
      const auto hit = cache.find(key_of(n), now);
      if (!hit) continue;
      ++hits;
      const auto kept = model.find(n);
      REQUIRE(kept != model.end());
      REQUIRE(now < kept->second.expires);
      REQUIRE(std::ranges::equal(hit->answer.message, kept->second.message));
      REQUIRE(std::ranges::equal(hit->answer.ttl_at, kept->second.ttl_at));
      REQUIRE(hit->answer.failure == kept->second.failure);
      REQUIRE(Seconds(hit->age) == std::chrono::duration_cast<Seconds>(now - kept->second.stored));
      continue;
    }
    Kept next{ByteBuffer(random() % 800, static_cast<std::uint8_t>(random())),
              std::vector<std::uint16_t>(random() % 20, static_cast<std::uint16_t>(random())), random() % 4 == 0, now,
              now + Seconds(random() % 30)};
    // Whether the model's entry is still in the cache decides if a failure may take its place.
    const bool usable = model.contains(n) && cache.find(key_of(n), now) && !model.at(n).failure;
    cache.put(key_of(n), {next.message, next.ttl_at, next.failure}, next.expires - now, now);
    if (next.expires == now || (next.failure && usable)) continue;
    model.insert_or_assign(n, std::move(next));
    REQUIRE(cache.counters().bytes <= kib(64).count);
    REQUIRE(cache.counters().entries <= 600);
  }
  CHECK(hits > 1000);
  CHECK(cache.counters().evicted > 100);
  CHECK(cache.counters().expired > 100);
}

TEST_CASE("What was just put is found, until its TTL has passed") {
  Cache cache(kib(64), 1);
  put(cache, 1, Seconds(5), Instant{});
  CHECK(cache.find(key_of(1), Instant{Seconds(4)}).value().age == 4);
  CHECK_FALSE(cache.find(key_of(1), Instant{Seconds(5)}));
  CHECK(cache.counters().entries == 0);
  CHECK(cache.counters().bytes == 0);
}

TEST_CASE("RFC 8767 s5: a failure never takes the place of a fresh answer, an answer does of a failure") {
  Cache cache(kib(64), 1);
  const ByteBuffer message(30);
  put(cache, 1, Seconds(5), Instant{});
  cache.put(key_of(1), {message, {}, true}, Seconds(5), Instant{});
  CHECK_FALSE(cache.find(key_of(1), Instant{}).value().answer.failure);
  cache.put(key_of(1), {message, {}, true}, Seconds(5), Instant{Seconds(5)});
  CHECK(cache.find(key_of(1), Instant{Seconds(6)}).value().answer.failure);
  put(cache, 1, Seconds(5), Instant{Seconds(7)});
  CHECK_FALSE(cache.find(key_of(1), Instant{Seconds(7)}).value().answer.failure);
}

TEST_CASE("Scan resistance: a flood of names asked once does not push out the names in use") {
  Cache cache(mib(1), 7);
  const Instant now{};
  for (std::uint32_t n = 0; n < 500; ++n) {
    put(cache, n, Seconds(3600), now);
    cache.find(key_of(n), now);
  }
  std::uint64_t hits = 0;
  for (std::uint32_t i = 0; i < 200000; ++i) {
    put(cache, 1000 + i, Seconds(3600), now);
    if (i % 10 == 0 && cache.find(key_of(i / 10 % 500), now)) ++hits;
  }
  CHECK(hits >= 19800);  // 99% of 20000
  CHECK(cache.counters().bytes <= mib(1).count);
}

TEST_CASE("Bounds: an answer over an eighth of the budget is counted and not kept; a budget of nothing keeps nothing") {
  Cache cache(kib(64), 1);
  put(cache, 1, Seconds(5), Instant{}, 9000);
  CHECK(cache.counters().too_large == 1);
  CHECK_FALSE(cache.find(key_of(1), Instant{}));
  Cache none(Bytes{0}, 1);
  put(none, 1, Seconds(5), Instant{});
  CHECK(none.counters().entries == 0);
}

TEST_CASE("The hash differs by seed, by octet and by length") {
  CHECK(hash_octets(key_of(1), 1) != hash_octets(key_of(1), 2));
  CHECK(hash_octets(key_of(1), 1) != hash_octets(key_of(2), 1));
  CHECK(hash_octets(ByteBuffer(8), 1) != hash_octets(ByteBuffer(9), 1));
  CHECK(hash_octets(key_of(1), 1) == hash_octets(key_of(1), 1));
}
