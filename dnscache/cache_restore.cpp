#include <algorithm>

#include "dnscache/cache.h"
#include "dnscache/hash.h"

namespace lastlight::dns {

bool Cache::walk(Walk& walk, std::size_t most, const std::function<void(const Record&)>& each, Instant now) const {
  for (; most > 0; --most, ++walk.next) {
    if (walk.next >= made_) {
      if (walk.rest) return false;
      walk = {.next = 0, .rest = true};
      if (made_ == 0) return false;
    }
    const Entry& entry = at(walk.next);
    const bool in_use = entry.queue == Queue::Main || entry.uses > 0;
    if (!entry.block || in_use == walk.rest || entry.failure || !usable(entry, now)) continue;
    each({.key = entry.key(),
          .answer = entry.answer(),
          .stored = entry.stored,
          .expires = entry.expires,
          .hits = entry.hits,
          .asked = entry.asked,
          .uses = entry.uses,
          .main = entry.queue == Queue::Main});
  }
  return true;
}

bool Cache::restore(const Record& record, Instant now) {
  const std::uint64_t hash = hash_octets(record.key, seed_);
  const bool usable = now < record.expires || now - record.expires < stale_window_;
  const std::uint64_t cost = cost_of(record.key, record.answer);
  if (record.answer.failure || !usable || cost > budget_ / kLargestShare || !fits(cost)) return false;
  if (const Index present = locate(record.key, hash); present != kNone) erase_at(present);
  Entry& entry = enter(record.key, hash, record.answer, record.main ? Queue::Main : Queue::Small);
  entry.stored = record.stored;
  entry.expires = record.expires;
  entry.hits = record.hits;
  entry.asked = record.asked;
  entry.uses = std::min(record.uses, kMaxUses);
  ++counters_.restored;
  return true;
}

}  // namespace lastlight::dns
