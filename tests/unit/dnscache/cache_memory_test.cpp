// What the cache really takes, beside what it says; and a flood of names that are asked once, at the shipped size.
#include <string>

#include <malloc.h>

#include "dnscache/cache.h"

#include "tests/support/random.h"
#include "tests/support/sanitized.h"
#include "tests/unit/dnscache/forwarder_rig.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;
using lastlight::test::kSanitized;

namespace {

// Octets that malloc has handed out, with its own headers. AddressSanitizer's malloc does not tell.
std::uint64_t heap() {
  const auto info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

void fill(Cache& cache, std::size_t answers, std::size_t size, std::uint32_t first = 0) {
  const ByteBuffer message(size);
  const std::vector<std::uint16_t> ttl_at = {40, 56};
  for (std::uint32_t i = 0; i < answers; ++i) {
    const std::string key = "name-" + std::to_string(first + i) + ".shop.svc.cluster.local";
    cache.put(ByteBuffer(key.begin(), key.end()), {message, ttl_at}, std::chrono::hours(1), Instant{});
  }
}

}  // namespace

TEST_CASE("what an answer is charged is what it takes of the heap, for every size of answer") {
  if (kSanitized) return;
  for (const std::size_t size : {40U, 130U, 500U, 4000U}) {
    INFO(size);
    const std::uint64_t before = heap();
    Cache cache(mib(8), 7);
    const std::uint64_t empty = heap();
    CHECK(empty - before < kib(64).count);  // its tables grow with it
    fill(cache, 4000, size);
    const std::uint64_t taken = heap() - empty;
    const std::uint64_t charged = cache.counters().bytes;
    CHECK(taken < charged + charged / 20 + kib(40).count);  // and the table of buckets, a power of two
    CHECK(taken + taken / 10 > charged);
  }
}

TEST_CASE("many small answers, then large ones: places that are free are charged until they are used again") {
  Cache cache(mib(2), 7);
  const std::uint64_t before = heap();
  fill(cache, 40000, 20);
  const auto small = cache.counters().entries;
  CHECK(small > 8000);
  fill(cache, 4000, 4000, 1000000);
  CHECK(cache.counters().entries < small / 4);
  CHECK(cache.counters().bytes <= mib(2).count);
  fill(cache, 40000, 20, 2000000);
  CHECK(cache.counters().entries > small * 9 / 10);
  if (!kSanitized) CHECK(heap() - before < mib(2).count * 11 / 10 + kib(200).count);
}

TEST_CASE("a million random names: the thousand in use still hit, and memory stays within the shipped budget") {
  const std::uint32_t flood = kSanitized ? 20000 : 1000000;
  DnsConfig config = config_with();
  if (kSanitized) config.cache_size = mib(1);
  auto random = lastlight::test::seeded_random("a million names");
  const std::uint64_t before = heap();
  Rig rig(config);
  std::uint64_t hot_asked = 0, hot_hits = 0;
  const auto ask = [&](const std::string& name) {
    const auto outcome = rig.forwarder.on_query(query_for(name), Client{}, rig.now, rig.out);
    if (outcome.ask && outcome.size == 0)
      rig.forwarder.on_reply(outcome.ask->flight, reply_for(name).a(3600).octets, rig.now);
    return outcome.size > 0;
  };
  const auto hot = [](std::uint64_t n) { return "web-" + std::to_string(n % 1000) + ".shop.svc.cluster.local"; };
  for (std::uint64_t n = 0; n < 2000; ++n)
    ask(hot(n));
  for (std::uint32_t n = 0; n < flood; ++n) {
    ask("x" + std::to_string(random()) + ".example.org");
    if (n % 10 != 0) continue;
    ++hot_asked;
    if (ask(hot(n / 10))) ++hot_hits;
    rig.now += std::chrono::milliseconds(1);
  }
  CHECK(hot_hits * 100 > hot_asked * 99);
  const CacheCounters& counters = rig.forwarder.cache_counters();
  CHECK(counters.bytes <= config.cache_size.count);
  CHECK(counters.bytes > config.cache_size.count / 2);
  CHECK(counters.evicted > flood / 2);
  if (!kSanitized) CHECK(heap() - before < config.cache_size.count * 21 / 20 + mib(1).count);
}
