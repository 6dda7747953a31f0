#include "dnscache/pace.h"

#include <deque>

#include "tests/support/catch.h"
#include "tests/support/random.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace std::chrono_literals;

TEST_CASE("in no second more than the pace and a tenth goes out, and not much less when asked for", "[pace]") {
  auto random = test::seeded_random("pace");
  for (int round = 0; round < 20; ++round) {
    const auto per_second = static_cast<std::uint32_t>(60 + random() % 2000);
    Pace pace(per_second);
    Instant now{std::chrono::hours(1)};
    std::deque<std::pair<Instant, std::uint32_t>> sent;
    std::deque<Instant> polls;
    std::uint64_t in_window = 0, in_all = 0;
    const bool greedy = round % 2 == 0;
    while (now < Instant{std::chrono::hours(1)} + 5s) {
      now += std::chrono::microseconds(random() % (greedy ? 400 : 4000));
      const auto packets = static_cast<std::uint32_t>(1 + random() % 6);
      const bool metadata = random() % 50 == 0;
      if (metadata) {
        pace.spend(1, now);
        polls.push_back(now);
      } else if (!pace.take(packets, now)) {
        CHECK(pace.ready_at(packets, now) > now);
        continue;
      }
      sent.emplace_back(now, metadata ? 1 : packets);
      in_window += sent.back().second;
      in_all += sent.back().second;
      for (; sent.front().first <= now - 1s; sent.pop_front())
        in_window -= sent.front().second;
      while (!polls.empty() && polls.front() <= now - 1s)
        polls.pop_front();
      // The metadata service is never held back.
      REQUIRE(in_window <= per_second + std::max(per_second / 10, 6U) + polls.size());
    }
    if (greedy) CHECK(in_all >= per_second * 9 / 2);
    CHECK(pace.counters().packets + pace.counters().metadata_packets == in_all);
  }
}

TEST_CASE("what the metadata service sent is missing to the resolver", "[pace]") {
  Pace pace(100);
  Instant now{std::chrono::hours(1)};
  pace.spend(300, now);
  CHECK_FALSE(pace.take(1, now + 2s));
  CHECK(pace.take(1, now + 3s));
  CHECK(pace.ready_at(1, now) > now + 2s);
}
