// Things by ids of our own (flights, sends), found without a search: the low bits of an id say where its thing stands.
// Places issues the ids, none of them twice, each greater than the one before; any Slots may keep something by them. A
// thing stays where it is until it is erased. Its slot is then used again, and with it the memory it held: who comes
// and goes with every question takes none anew.
//
// Bounds: as many slots as there ever were things at once, which must be fewer than 2^22. Flights have their own bound;
// sends are those of a query_timeout.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace lastlight::dns {

constexpr unsigned kSlotBits = 22;
constexpr std::size_t slot_of(std::uint64_t id) {
  return id & ((std::uint64_t{1} << kSlotBits) - 1);
}

class Places {
 public:
  std::uint64_t issue() {
    if (free_.empty()) free_.push_back(made_++);
    const std::uint32_t place = free_.back();
    free_.pop_back();
    return ++issued_ << kSlotBits | place;
  }
  void give_back(std::uint64_t id) { free_.push_back(static_cast<std::uint32_t>(slot_of(id))); }

 private:
  std::vector<std::uint32_t> free_;  // what was used last first: it is near in memory
  std::uint32_t made_ = 0;
  std::uint64_t issued_ = 0;
};

template <typename T>
class Slots {
 public:
  T* find(std::uint64_t id) {
    const std::size_t at = slot_of(id);
    return at < slots_.size() && slots_[at].id == id ? &slots_[at].thing : nullptr;
  }
  const T* find(std::uint64_t id) const { return const_cast<Slots*>(this)->find(id); }
  bool contains(std::uint64_t id) const { return find(id) != nullptr; }

  // In the state in which the last one left the slot. `id` is not 0.
  T& put(std::uint64_t id) {
    const std::size_t at = slot_of(id);
    if (at >= slots_.size()) slots_.resize(at + 1);
    taken_ += slots_[at].id == 0;
    slots_[at].id = id;
    return slots_[at].thing;
  }
  bool erase(std::uint64_t id) {
    if (!contains(id)) return false;
    slots_[slot_of(id)].id = 0;
    --taken_;
    return true;
  }

  // What stands in a slot that is taken.
  std::uint64_t id_in(std::size_t slot) const { return slots_[slot].id; }
  T& in(std::size_t slot) { return slots_[slot].thing; }
  const T& in(std::size_t slot) const { return slots_[slot].thing; }
  std::size_t size() const { return taken_; }
  // Every slot that is taken; `each` may erase it.
  template <typename Each>
  void for_each(Each&& each) const {
    for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].id != 0) each(slot);
    }
  }

 private:
  struct Slot {
    std::uint64_t id = 0;  // 0: it is free
    T thing{};
  };

  std::deque<Slot> slots_;
  std::size_t taken_ = 0;
};

}  // namespace lastlight::dns
