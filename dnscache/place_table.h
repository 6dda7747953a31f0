// Where things stand, by the hash of their keys: a table of open addressing whose slots hold the place and half of the
// hash. What is not there is mostly known by one line of the processor's cache, and to find, to take out and to grow
// touches nothing but slots. Owns no things: whoever asks says which of equal hashes is meant. Hashes are seeded, so
// that nobody can aim at one slot.
//
// Bounds: between one and two thirds of the slots are taken, once there are more than a few; it never shrinks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lastlight::dns {

class PlaceTable {
 public:
  using Place = std::uint32_t;
  static constexpr Place kNone = 0xFFFFFFFF;
  // Octets of slots for each thing, at most.
  static constexpr std::uint64_t kOctetsEach = 24;

  // The place of this hash of which `is(place)` says yes; kNone when there is none.
  template <typename Is>
  Place find(std::uint64_t hash, Is&& is) const {
    const auto tag = static_cast<std::uint32_t>(hash);
    for (std::size_t at = tag & mask(); slots_[at].place != kNone; at = (at + 1) & mask()) {
      if (slots_[at].tag == tag && is(slots_[at].place)) return slots_[at].place;
    }
    return kNone;
  }
  void insert(std::uint64_t hash, Place place);
  void erase(std::uint64_t hash, Place place);  // which is there

  // Asks the processor for what find() will look at.
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&slots_[static_cast<std::uint32_t>(hash) & mask()]); }

 private:
  struct Slot {
    std::uint32_t tag = 0;  // of the hash; its low bits say where it belongs
    Place place = kNone;
  };
  static constexpr std::size_t kFirst = 1024;

  std::size_t mask() const { return slots_.size() - 1; }
  void put(Slot slot);
  void grow();

  std::vector<Slot> slots_ = std::vector<Slot>(kFirst);
  std::size_t taken_ = 0;
};

}  // namespace lastlight::dns
