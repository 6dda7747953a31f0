// Deadlines against a set from which each is erased that ends or moves.
#include "dnscache/deadlines.h"

#include <map>
#include <set>

#include "tests/support/catch.h"
#include "tests/support/random.h"

using namespace lastlight;
using namespace lastlight::dns;

TEST_CASE("A property: the first deadline is the one a set of them would have, and what is over is not kept for long") {
  auto random = lastlight::test::seeded_random("deadlines against a set");
  Deadlines deadlines;
  std::map<std::uint64_t, Instant> of;
  std::set<Deadlines::Entry> model;
  const auto settle = [&] {
    deadlines.settle(of.size(), [&](Instant when, std::uint64_t id) {
      const auto found = of.find(id);
      return found != of.end() && found->second == when;
    });
  };
  const auto end = [&](std::uint64_t id) {
    model.erase({of.at(id), id});
    of.erase(id);
  };
  for (std::uint64_t step = 1; step < 30000; ++step) {
    // Most come in order and end in order; some are due early, and some stay.
    const std::uint64_t id = random() % 4 == 0 && !of.empty() ? of.begin()->first : step;
    const Instant when(Duration(static_cast<std::int64_t>(step + random() % (random() % 20 == 0 ? 5000 : 50))));
    if (of.contains(id)) model.erase({of.at(id), id});
    if (!of.contains(id) || of.at(id) != when) deadlines.add(when, id);
    of[id] = when;
    model.insert({when, id});
    settle();
    while (of.size() > (step % 10000 < 5000 ? 300U : 5U)) {
      end(random() % 3 == 0 ? of.rbegin()->first : of.begin()->first);
      settle();
    }
    REQUIRE(deadlines.next() == model.begin()->first);
    REQUIRE(deadlines.first() == model.begin()->second);
    REQUIRE(deadlines.size() <= 2 * of.size() + Deadlines::kSlack);
  }
  while (!of.empty()) {
    end(of.begin()->first);
    settle();
  }
  CHECK(deadlines.next() == kNever);
  CHECK(deadlines.size() == 0);
}
