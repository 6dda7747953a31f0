// When each of many things is due, of which hardly any ever will be. What has ended, or has another deadline now, is
// not looked for: its owner tells which entries still hold when they have become the first, or too many.
//
// Bounds: twice as many entries as hold, and kSlack.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

#include "agent/base/time.h"

namespace lastlight::dns {

class Deadlines {
 public:
  static constexpr std::size_t kSlack = 64;
  using Entry = std::pair<Instant, std::uint64_t>;  // when, and whose

  // Most are the latest yet, or nearly.
  void add(Instant when, std::uint64_t id) {
    const Entry entry{when, id};
    const bool latest = entries_.empty() || entries_.back() < entry;
    entries_.insert(latest ? entries_.end() : std::ranges::upper_bound(entries_, entry), entry);
  }

  // After every change: lets go of what `holds(when, id)` does not know any more, so that the first one does.
  // `holding`: how many things have a deadline.
  template <typename Holds>
  void settle(std::size_t holding, Holds&& holds) {
    const auto gone = [&](const Entry& entry) { return !holds(entry.first, entry.second); };
    while (!entries_.empty() && gone(entries_.front()))
      entries_.pop_front();
    if (entries_.size() > 2 * holding + kSlack) std::erase_if(entries_, gone);
  }

  Instant next() const { return entries_.empty() ? kNever : entries_.front().first; }
  // Whose the first is; not of none.
  std::uint64_t first() const { return entries_.front().second; }
  std::size_t size() const { return entries_.size(); }

 private:
  std::deque<Entry> entries_;  // in their order
};

}  // namespace lastlight::dns
