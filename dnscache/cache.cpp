#include "dnscache/cache.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "dnscache/hash.h"

namespace lastlight::dns {

namespace {

constexpr std::uint64_t kSmallShare = 10;  // of the budget, 1/n

// What malloc takes for a block: its header, rounded to 16.
constexpr std::uint64_t allocated(std::uint64_t octets) {
  return (octets + 8 + 15) / 16 * 16;
}

std::uint32_t whole_second(Instant when) {
  return static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(when.time_since_epoch()).count());
}

}  // namespace

const std::uint8_t* Cache::Entry::octets() const {
  return reinterpret_cast<const std::uint8_t*>(block.get() + ttl_count);
}

Answer Cache::Entry::answer() const {
  return {ByteView(octets() + key_size, message_size), std::span(block.get(), ttl_count), failure, source};
}

std::uint64_t Cache::Entry::cost() const {
  return kPlace + allocated(block_octets());
}

Cache::Hit Cache::Entry::hit(Instant now) const {
  const Duration left = expires - now;
  const Duration life = expires - stored;
  // Between the last fifth and the last tenth, by the hash.
  const Duration early = life * (8 + static_cast<int>(hash >> 56) % 9) / 80;
  const bool fresh = left > Duration{0};
  const std::uint32_t second = whole_second(now);
  return {.answer = answer(),
          .age = whole_second(Instant(std::max(now - stored, Duration{0}))),
          .left = left,
          .hits = hits,
          .hash = hash,
          .fresh = fresh,
          .hot = second - asked <= kHotSeconds,
          .due = !failure && second >= postponed_to && (!fresh || (uses > 0 && left <= early))};
}

Cache::Cache(Bytes budget, std::uint64_t hash_seed, Duration stale_window)
    : budget_(budget.count),
      seed_(hash_seed),
      stale_window_(stale_window),
      ghosts_(std::bit_ceil(std::clamp<std::uint64_t>(budget.count / 1024, 64, 1U << 16)), 0) {}

std::uint64_t Cache::hash_of(ByteView key) const {
  return hash_octets(key, seed_);
}

std::optional<Cache::Hit> Cache::find(ByteView key, std::uint64_t hash, Instant now) {
  const Index index = locate(key, hash);
  if (index == kNone) {
    ++counters_.misses;
    return std::nullopt;
  }
  Entry& entry = at(index);
  if (!usable(entry, now)) {
    ++counters_.expired;
    erase_at(index);
    return std::nullopt;
  }
  const Hit hit = entry.hit(now);
  ++(hit.fresh ? counters_.hits : counters_.expired);
  ++entry.hits;
  entry.asked = whole_second(now);
  entry.uses = static_cast<std::uint8_t>(std::min<int>(entry.uses + 1, kMaxUses));
  return hit;
}

void Cache::approach(std::span<const std::uint64_t> hashes) const {
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kMostLines = 4;  // of a block; the processor sees where it goes on
  hashes = hashes.first(std::min(hashes.size(), kApproach));
  std::array<Index, kApproach> places;
  for (const std::uint64_t hash : hashes)
    table_.prefetch(hash);
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    places[i] = table_.find(hashes[i], [](Index) { return true; });
    if (places[i] != kNone) __builtin_prefetch(&at(places[i]));
  }
  for (const Index place : std::span(places).first(hashes.size())) {
    if (place == kNone) continue;
    const auto* block = reinterpret_cast<const std::uint8_t*>(at(place).block.get());
    const std::size_t lines = std::min(at(place).block_octets() / kLine + 1, kMostLines);
    for (std::size_t i = 0; i < lines; ++i)
      __builtin_prefetch(block + i * kLine);
  }
}

std::optional<Cache::Hit> Cache::peek(ByteView key, Instant now) const {
  const Index index = locate(key, hash_octets(key, seed_));
  if (index == kNone || !usable(at(index), now)) return std::nullopt;
  return at(index).hit(now);
}

void Cache::postpone(ByteView key, Duration wait, Instant now) {
  const Index index = locate(key, hash_octets(key, seed_));
  if (index != kNone) at(index).postponed_to = whole_second(now + wait);
}

bool Cache::erase(ByteView key) {
  const Index index = locate(key, hash_octets(key, seed_));
  if (index != kNone) erase_at(index);
  return index != kNone;
}

std::size_t Cache::erase_if(const std::function<bool(ByteView key)>& chosen) {
  std::size_t count = 0;
  for (const Fifo* queue : {&small_, &main_}) {
    for (Index index = queue->oldest; index != kNone;) {
      const Index next = at(index).newer;
      if (chosen(at(index).key())) {
        erase_at(index);
        ++count;
      }
      index = next;
    }
  }
  return count;
}

std::vector<ByteBuffer> Cache::hot_keys(std::size_t most, Instant now) const {
  std::vector<ByteBuffer> out;
  const std::uint32_t second = whole_second(now);
  for (const Fifo* queue : {&main_, &small_}) {
    for (Index index = queue->oldest; index != kNone && out.size() < most; index = at(index).newer) {
      const Entry& entry = at(index);
      const bool hot = entry.hits > 0 && second - entry.asked <= kHotSeconds;
      if (hot && !entry.failure && usable(entry, now)) out.emplace_back(entry.key().begin(), entry.key().end());
    }
  }
  return out;
}

void Cache::set_budget(Bytes budget, Instant now) {
  budget_ = budget.count;
  while (!fits(0) && counters_.entries > 0)
    evict_one(now);
}

void Cache::put(ByteView key, std::uint64_t hash, const Answer& answer, Duration ttl, Instant now) {
  if (ttl <= Duration{0}) return;
  const Index present = locate(key, hash);
  bool to_main = false;
  std::uint32_t hits = 0;
  std::uint32_t asked = whole_second(now);
  if (present != kNone) {
    const Entry& old = at(present);
    if (answer.failure && !old.failure && usable(old, now)) return;
    to_main = old.queue == Queue::Main;
    hits = old.hits;
    asked = old.asked;
    ++counters_.replaced;
    erase_at(present);
  }
  const std::uint64_t cost = cost_of(key, answer);
  if (cost > budget_ / kLargestShare) {
    ++counters_.too_large;
    return;
  }
  while (!fits(cost) && counters_.entries > 0)
    evict_one(now);
  if (remembered(hash)) to_main = true;

  Entry& entry = enter(key, hash, answer, to_main ? Queue::Main : Queue::Small);
  entry.stored = now;
  entry.expires = now + ttl;
  entry.hits = hits;
  entry.asked = asked;
  entry.uses = 0;
  ++counters_.inserted;
}

std::size_t Cache::block_size(ByteView key, const Answer& answer) {
  return answer.ttl_at.size() + (key.size() + answer.message.size() + 1) / 2;
}

std::uint64_t Cache::cost_of(ByteView key, const Answer& answer) {
  return kPlace + allocated(block_size(key, answer) * 2);
}

// Times and counts are the caller's to set.
Cache::Entry& Cache::enter(ByteView key, std::uint64_t hash, const Answer& answer, Queue queue) {
  const Index index = take_slot();
  Entry& entry = at(index);
  entry.block = std::make_unique_for_overwrite<std::uint16_t[]>(block_size(key, answer));
  std::copy(answer.ttl_at.begin(), answer.ttl_at.end(), entry.block.get());
  auto* bytes = reinterpret_cast<std::uint8_t*>(entry.block.get() + answer.ttl_at.size());
  copy_octets(key, bytes);
  copy_octets(answer.message, bytes + key.size());
  entry.hash = hash;
  entry.message_size = static_cast<std::uint32_t>(answer.message.size());
  entry.ttl_count = static_cast<std::uint16_t>(answer.ttl_at.size());
  entry.key_size = static_cast<std::uint16_t>(key.size());
  entry.failure = answer.failure;
  entry.source = answer.source;
  entry.postponed_to = 0;
  table_.insert(hash, index);
  ++counters_.entries;
  counters_.bytes += entry.cost();
  push(index, queue);
  return entry;
}

Cache::Index Cache::locate(ByteView key, std::uint64_t hash) const {
  return table_.find(hash, [&](Index index) {
    const Entry& entry = at(index);
    return entry.hash == hash && std::ranges::equal(entry.key(), key);
  });
}

Cache::Index Cache::take_slot() {
  if (free_.empty()) {
    if (made_ % kChunk == 0) chunks_.push_back(std::make_unique<Entry[]>(kChunk));
    return made_++;
  }
  const Index index = free_.back();
  free_.pop_back();
  return index;
}

void Cache::push(Index index, Queue queue) {
  Fifo& into = fifo(queue);
  Entry& entry = at(index);
  entry.queue = queue;
  entry.newer = kNone;
  entry.older = into.newest;
  (into.newest == kNone ? into.oldest : at(into.newest).newer) = index;
  into.newest = index;
  into.bytes += entry.cost();
}

void Cache::pull(Index index) {
  const Entry& entry = at(index);
  Fifo& from = fifo(entry.queue);
  (entry.older == kNone ? from.oldest : at(entry.older).newer) = entry.newer;
  (entry.newer == kNone ? from.newest : at(entry.newer).older) = entry.older;
  from.bytes -= entry.cost();
}

void Cache::erase_at(Index index) {
  Entry& entry = at(index);
  table_.erase(entry.hash, index);
  pull(index);
  --counters_.entries;
  counters_.bytes -= entry.cost();
  entry.block.reset();
  free_.push_back(index);
}

bool Cache::fits(std::uint64_t more) const {
  const std::uint64_t free = free_.size() * kPlace;
  const std::uint64_t used_again = more > 0 && free > 0 ? kPlace : 0;
  return counters_.bytes + free + more - used_again <= budget_;
}

void Cache::evict_one(Instant now) {
  if (small_.oldest != kNone && (small_.bytes > budget_ / kSmallShare || main_.oldest == kNone)) {
    evict_small(now);
  } else {
    evict_main(now);
  }
}

// The oldest of the small queue: out if nobody asked for it again, otherwise on to the main queue.
void Cache::evict_small(Instant now) {
  const Index index = small_.oldest;
  if (at(index).uses > 0 && usable(at(index), now)) {
    pull(index);
    at(index).uses = 0;
    push(index, Queue::Main);
    return;
  }
  remember(at(index).hash);
  ++counters_.evicted;
  erase_at(index);
  approach_eviction();
}

// What lay untouched for as long as the queue is long is far away. When the next is evicted, its entry, its slot and
// its block are to be here, and its successor's entry, which leads to that one's.
void Cache::approach_eviction() const {
  if (small_.oldest == kNone) return;
  const Entry& next = at(small_.oldest);
  table_.prefetch(next.hash);
  __builtin_prefetch(next.block.get());
  if (next.newer != kNone) __builtin_prefetch(&at(next.newer));
}

// The oldest of the main queue that was not used since it was last here. Each pass takes one from a count of at most
// three, so that the whole queue is walked three times at the very most, and once per use in the long run.
void Cache::evict_main(Instant now) {
  for (;;) {
    const Index index = main_.oldest;
    if (at(index).uses == 0 || !usable(at(index), now)) {
      ++counters_.evicted;
      erase_at(index);
      return;
    }
    --at(index).uses;
    pull(index);
    push(index, Queue::Main);
  }
}

void Cache::remember(std::uint64_t hash) {
  ghosts_[(hash >> 16) & (ghosts_.size() - 1)] = static_cast<std::uint32_t>(hash >> 32) | 1U;
}

bool Cache::remembered(std::uint64_t hash) {
  std::uint32_t& ghost = ghosts_[(hash >> 16) & (ghosts_.size() - 1)];
  if (ghost != (static_cast<std::uint32_t>(hash >> 32) | 1U)) return false;
  ghost = 0;
  return true;
}

}  // namespace lastlight::dns
