// The table of places against a map, with few hashes and many that fall together.
#include "dnscache/place_table.h"

#include <map>

#include "tests/support/catch.h"
#include "tests/support/random.h"

using lastlight::dns::PlaceTable;

namespace {

constexpr auto kAny = [](PlaceTable::Place) { return true; };

}  // namespace

TEST_CASE("A property: a table of places finds what a map would, through collisions, removals and growth") {
  auto random = lastlight::test::seeded_random("the table of places against a map");
  PlaceTable table;
  std::map<PlaceTable::Place, std::uint64_t> model;
  // Hashes near the table's end run over it; those that differ only above their lower half are told apart by the asker.
  const auto draw = [&] {
    return ((random() % 3) << 40) | ((random() % 4 == 0 ? 1000 : random() % 4000) + random() % 30);
  };
  for (int step = 0; step < 60000; ++step) {
    const bool grows = step % 20000 < 12000;
    if (model.empty() || random() % 8 < (grows ? 6U : 2U)) {
      const auto place = static_cast<PlaceTable::Place>(step);
      const std::uint64_t hash = draw();
      table.insert(hash, place);
      model.emplace(place, hash);
    } else {
      auto gone = model.lower_bound(static_cast<PlaceTable::Place>(random() % static_cast<std::uint64_t>(step)));
      if (gone == model.end()) gone = model.begin();
      table.erase(gone->second, gone->first);
      REQUIRE(table.find(gone->second, [&](PlaceTable::Place place) { return place == gone->first; }) ==
              PlaceTable::kNone);
      model.erase(gone);
    }
    if (step % 4000 != 0) continue;
    for (const auto& [place, hash] : model)
      REQUIRE(table.find(hash, [&](PlaceTable::Place each) { return each == place; }) == place);
  }
}

TEST_CASE("an empty table of places has nothing, and one that was emptied too") {
  PlaceTable table;
  CHECK(table.find(0, kAny) == PlaceTable::kNone);
  for (std::uint32_t i = 0; i < 5000; ++i)
    table.insert(i / 3, i);
  for (std::uint32_t i = 0; i < 5000; ++i)
    table.erase(i / 3, i);
  for (std::uint32_t i = 0; i < 5000; ++i)
    CHECK(table.find(i, kAny) == PlaceTable::kNone);
}
