// Slots against a map, over random comings and goings.
#include "dnscache/slots.h"

#include <algorithm>
#include <map>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/random.h"

using namespace lastlight::dns;

TEST_CASE("A property: slots hold what a map would, and their ids grow") {
  auto random = lastlight::test::seeded_random("slots against a map");
  Places places;
  Slots<std::uint64_t> slots;
  std::map<std::uint64_t, std::uint64_t> model;
  std::uint64_t last = 0;
  std::size_t most = 0;
  for (int step = 0; step < 20000; ++step) {
    if (model.empty() || random() % 100 < (step % 4000 < 2000 ? 60U : 40U)) {
      const std::uint64_t id = places.issue();
      REQUIRE(id > last);
      REQUIRE_FALSE(slots.contains(id));
      last = id;
      slots.put(id) = model[id] = random();
    } else {
      auto gone = model.lower_bound(random() % last);
      if (gone == model.end()) gone = model.begin();
      REQUIRE(slots.erase(gone->first));
      REQUIRE_FALSE(slots.erase(gone->first));
      places.give_back(gone->first);
      model.erase(gone);
    }
    most = std::max(most, model.size());
    REQUIRE(slots.size() == model.size());
    if (step % 500 != 0) continue;
    std::size_t seen = 0;
    slots.for_each([&](std::size_t slot) {
      REQUIRE(slot < most);
      REQUIRE(slots.in(slot) == model.at(slots.id_in(slot)));
      ++seen;
    });
    REQUIRE(seen == model.size());
  }
}

TEST_CASE("an id whose slot was used again finds nothing") {
  Places places;
  Slots<int> slots;
  const auto first = places.issue();
  slots.put(first) = 1;
  slots.erase(first);
  places.give_back(first);
  const auto second = places.issue();
  slots.put(second) = 2;
  REQUIRE(slot_of(first) == slot_of(second));
  CHECK(slots.find(first) == nullptr);
  CHECK(*slots.find(second) == 2);
  CHECK_FALSE(slots.erase(first));
  CHECK(slots.find(0) == nullptr);
}

TEST_CASE("a slot is handed on with the memory it held") {
  Places places;
  Slots<std::vector<int>> slots;
  const auto first = places.issue();
  slots.put(first).assign(100, 1);
  const int* where = slots.find(first)->data();
  slots.erase(first);
  places.give_back(first);
  auto& next = slots.put(places.issue());
  next.assign(50, 2);
  CHECK(next.data() == where);
}
