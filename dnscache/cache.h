// The packet cache: ready-made answers by key, within a budget of bytes, aged by the instants it is handed. Owns the
// kept messages; never looks into them, never asks anything, never reads a clock.
//
// An answer whose TTL has run out stays for the stale window (RFC 8767 s5), a failure does not. Whether it may be
// served is the forwarder's choice; that it should be asked again is said by the hit, early for what is in use, each at
// its own time of its last fifth, so that what came together is not asked together.
//
// Eviction is S3-FIFO (Yang et al., SOSP 2023): new answers enter a small queue (a tenth of the budget), and only those
// asked for again go to the main queue, so that a flood of names that are asked once passes through without pushing out
// what the node lives on. A table of fingerprints remembers what was just pushed out of the small queue; such an answer
// enters the main queue when it comes back. A hit allocates nothing and moves nothing: it counts up to three.
//
// Bounds: every entry is charged its key, message, offsets, bookkeeping and the allocator's share, and so is the place
// of one that has gone until it is used again; what is over the budget is evicted (counted). An answer over an eighth
// of the budget is not kept (counted).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/base/time.h"
#include "dnscache/answer.h"
#include "dnscache/counters.h"
#include "dnscache/place_table.h"

namespace lastlight::dns {

class Cache {
 public:
  Cache(Bytes budget, std::uint64_t hash_seed, Duration stale_window = Duration{0});

  static constexpr std::uint32_t kHotSeconds = 300;

  struct Hit {
    Answer answer;           // valid until the next put
    std::uint32_t age = 0;   // whole seconds since it was kept
    Duration left{};         // of its TTL; negative once expired
    std::uint32_t hits = 0;  // since the name came into the cache
    std::uint64_t hash = 0;  // of the key
    bool fresh = true;       // its TTL has not run out
    bool hot = false;        // it was asked for in the last kHotSeconds before
    bool due = false;        // to be asked again: expired, or in use and about to; not while postponed
  };
  std::optional<Hit> find(ByteView key, Instant now) { return find(key, hash_of(key), now); }
  std::optional<Hit> find(ByteView key, std::uint64_t hash, Instant now);  // of the key
  std::uint64_t hash_of(ByteView key) const;
  // Asks the processor for what find() will look at, of all of them at once: in a large cache that is three times as
  // far away as the memory is slow. Of more than kApproach the rest is left alone.
  void approach(std::span<const std::uint64_t> hashes) const;
  static constexpr std::size_t kApproach = 64;
  // The same unseen: nothing is counted, nothing gets hotter.
  std::optional<Hit> peek(ByteView key, Instant now) const;

  // Keeps the answer for `ttl` (nothing happens for 0). A failure never takes the place of an answer that is fresh or
  // in its stale window (RFC 8767 s5; a broken upstream must not take away what works).
  void put(ByteView key, const Answer& answer, Duration ttl, Instant now) { put(key, hash_of(key), answer, ttl, now); }
  void put(ByteView key, std::uint64_t hash, const Answer& answer, Duration ttl, Instant now);
  // Asking again failed: not due for `wait` (RFC 8767 s5, the failure recheck timer).
  void postpone(ByteView key, Duration wait, Instant now);

  bool erase(ByteView key);
  // Erases every entry whose key is chosen; how many. Takes a time in proportion to the cache.
  std::size_t erase_if(const std::function<bool(ByteView key)>& chosen);
  // Those asked for in the last kHotSeconds, at most `most`; what was kept longest and used first.
  std::vector<ByteBuffer> hot_keys(std::size_t most, Instant now) const;

  // An answer with its history, as it passes from an agent to its successor.
  struct Record {
    ByteView key;
    Answer answer;
    Instant stored{};
    Instant expires{};
    std::uint32_t hits = 0;
    std::uint32_t asked = 0;  // seconds of the clock
    std::uint8_t uses = 0;    // at most kMaxUses
    bool main = false;        // it is in the main queue
  };
  static constexpr std::uint8_t kMaxUses = 3;
  // Where a walk over the cache stands: first what is in use, then the rest.
  struct Walk {
    std::uint32_t next = 0;
    bool rest = false;
  };
  // Looks at no more than `most` places further on, and shows what could be served but failures. Between two steps the
  // cache may change: what comes or moves meanwhile may be missed, or be shown twice. False: that was all.
  bool walk(Walk& walk, std::size_t most, const std::function<void(const Record&)>& each, Instant now) const;
  // Keeps it as it was elsewhere, in place of what is here. False: it does not fit, or could not be served.
  bool restore(const Record& record, Instant now);

  void set_stale_window(Duration window) { stale_window_ = window; }
  void set_budget(Bytes budget, Instant now);  // what is over it is evicted
  Bytes budget() const { return Bytes{budget_}; }
  const CacheCounters& counters() const { return counters_; }

 private:
  using Index = PlaceTable::Place;
  static constexpr Index kNone = PlaceTable::kNone;
  enum class Queue : std::uint8_t { Small, Main };

  // One line of the processor's cache.
  struct alignas(64) Entry {
    std::unique_ptr<std::uint16_t[]> block;  // TTL offsets, then key and message as octets
    std::uint64_t hash = 0;
    Instant stored{};
    Instant expires{};
    Index newer = kNone;  // in its queue
    Index older = kNone;
    std::uint32_t message_size = 0;
    std::uint16_t ttl_count = 0;
    std::uint16_t key_size = 0;
    std::uint32_t hits = 0;
    std::uint32_t asked = 0;  // seconds of the clock, as the next: an hour more or less would not matter
    std::uint32_t postponed_to = 0;
    std::uint8_t uses = 0;  // at most 3
    Queue queue = Queue::Small;
    bool failure = false;
    std::uint8_t source = 0;

    const std::uint8_t* octets() const;
    ByteView key() const { return {octets(), key_size}; }
    std::size_t block_octets() const { return (ttl_count + (std::size_t{key_size} + message_size + 1) / 2) * 2; }
    std::uint64_t cost() const;
    Answer answer() const;
    Hit hit(Instant now) const;
  };
  // An entry without its block: itself, and its share of the tables of places.
  static constexpr std::uint64_t kPlace = sizeof(Entry) + PlaceTable::kOctetsEach + sizeof(Index);
  static constexpr std::size_t kChunk = 64;          // entries that are made at once
  static constexpr std::uint64_t kLargestShare = 8;  // of the budget an entry may have, 1/n
  struct Fifo {
    Index newest = kNone;
    Index oldest = kNone;
    std::uint64_t bytes = 0;
  };

  bool usable(const Entry& entry, Instant now) const {
    return now < entry.expires || (!entry.failure && now - entry.expires < stale_window_);
  }
  Entry& at(Index index) { return chunks_[index / kChunk][index % kChunk]; }
  const Entry& at(Index index) const { return chunks_[index / kChunk][index % kChunk]; }
  Index locate(ByteView key, std::uint64_t hash) const;
  Index take_slot();
  static std::size_t block_size(ByteView key, const Answer& answer);  // in halves
  static std::uint64_t cost_of(ByteView key, const Answer& answer);
  Entry& enter(ByteView key, std::uint64_t hash, const Answer& answer, Queue queue);
  void push(Index index, Queue queue);
  void pull(Index index);
  void erase_at(Index index);
  // Whether `more` octets fit beside what is held; a free place, if there is one, is used.
  bool fits(std::uint64_t more) const;
  void evict_one(Instant now);
  void evict_small(Instant now);
  void evict_main(Instant now);
  void approach_eviction() const;
  void remember(std::uint64_t hash);
  bool remembered(std::uint64_t hash);
  Fifo& fifo(Queue queue) { return queue == Queue::Small ? small_ : main_; }

  std::uint64_t budget_;
  std::uint64_t seed_;
  Duration stale_window_;
  std::vector<std::unique_ptr<Entry[]>> chunks_;  // entries stay where they are, and are used again
  Index made_ = 0;                                // of them, so far
  std::vector<Index> free_;
  PlaceTable table_;
  std::vector<std::uint32_t> ghosts_;  // by hash; 0: none
  Fifo small_;
  Fifo main_;
  CacheCounters counters_;
};

}  // namespace lastlight::dns
