// Which clients ask most, in bounded memory: a table of buckets by hash with a few places each. A client without a
// place wears down the smallest of its bucket by one, and takes it over at zero, so that whoever asks for much stays
// and its count is never too high; it may be too low by what others asked in the same bucket. Counting is a few
// comparisons and allocates nothing. (Misra and Gries, "Finding repeated elements", per bucket.)
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "agent/base/address.h"

namespace lastlight::dns {

struct ClientCount {
  IpAddress client;
  std::uint64_t queries = 0;
};

class Sketch {
 public:
  static constexpr std::size_t kBuckets = 256;
  static constexpr std::size_t kPlaces = 4;

  explicit Sketch(std::uint64_t seed) : seed_(seed) {}

  void note(const IpAddress& client);
  std::vector<ClientCount> top(std::size_t most) const;  // the most first

 private:
  std::uint64_t seed_;
  std::array<std::array<ClientCount, kPlaces>, kBuckets> buckets_{};
};

}  // namespace lastlight::dns
