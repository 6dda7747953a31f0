#include "dnscache/place_table.h"

#include <utility>

namespace lastlight::dns {

void PlaceTable::insert(std::uint64_t hash, Place place) {
  if ((taken_ + 1) * 3 > slots_.size() * 2) grow();
  put({static_cast<std::uint32_t>(hash), place});
  ++taken_;
}

void PlaceTable::put(Slot slot) {
  std::size_t at = slot.tag & mask();
  while (slots_[at].place != kNone)
    at = (at + 1) & mask();
  slots_[at] = slot;
}

// What stands behind the hole moves up into it, unless it would come to stand before where it belongs.
void PlaceTable::erase(std::uint64_t hash, Place place) {
  std::size_t hole = static_cast<std::uint32_t>(hash) & mask();
  while (slots_[hole].place != place)
    hole = (hole + 1) & mask();
  for (std::size_t at = (hole + 1) & mask(); slots_[at].place != kNone; at = (at + 1) & mask()) {
    const std::size_t away = (at - slots_[at].tag) & mask();
    if (away >= ((at - hole) & mask())) {
      slots_[hole] = slots_[at];
      hole = at;
    }
  }
  slots_[hole] = {};
  --taken_;
}

// Doubled: about a millisecond for 64 Ki things, some ten times in a process's life.
void PlaceTable::grow() {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(slots_.size() * 2));
  for (const Slot& slot : old) {
    if (slot.place != kNone) put(slot);
  }
}

}  // namespace lastlight::dns
