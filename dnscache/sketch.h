// What is asked for most, or who asks most, in bounded memory: a table of buckets by hash with a few places each. What
// has no place wears down the smallest of its bucket by one, and takes it over at zero, so that whatever is frequent
// stays and its count is never too high; it may be too low by what else was counted in the same bucket. Counting is a
// few comparisons in one line of the processor's cache and allocates nothing. (Misra and Gries, "Finding repeated
// elements", per bucket.)
//
// Two things are told apart by 64 bits of a seeded hash alone: nothing decides by these counts.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "agent/base/bytes.h"

namespace lastlight::dns {

class Sketch {
 public:
  static constexpr std::size_t kBuckets = 128;
  static constexpr std::size_t kPlaces = 4;

  // Of things that are at most so many octets long.
  explicit Sketch(std::size_t longest);

  void note(ByteView what, std::uint64_t hash, std::uint64_t times = 1);

  struct Counted {
    ByteView what;  // valid until the next note
    std::uint64_t count = 0;
  };
  std::vector<Counted> top(std::size_t most) const;  // the most first

 private:
  struct Place {
    std::uint64_t hash = 0;
    std::uint64_t count = 0;
  };
  struct alignas(64) Bucket : std::array<Place, kPlaces> {};

  std::size_t longest_;
  std::vector<Bucket> buckets_;
  std::vector<std::uint16_t> sizes_;
  std::unique_ptr<std::uint8_t[]> octets_;  // `longest` for each place; pages are touched as they are used
};

}  // namespace lastlight::dns
