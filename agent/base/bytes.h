// Bytes from the network, and sizes of memory.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace lastlight {

using ByteView = std::span<const std::uint8_t>;
using MutableByteView = std::span<std::uint8_t>;
using ByteBuffer = std::vector<std::uint8_t>;

// Into a place that is as large. GCC 12 makes of std::ranges::copy from const memory a loop over single octets.
inline void copy_octets(ByteView from, std::uint8_t* to) {
  if (!from.empty()) std::memcpy(to, from.data(), from.size());
}

// A size of memory in bytes. A type of its own, so that configuration and budgets cannot be confused with counts.
struct Bytes {
  std::uint64_t count = 0;
  auto operator<=>(const Bytes&) const = default;
};

constexpr Bytes kib(std::uint64_t n) {
  return Bytes{n << 10};
}
constexpr Bytes mib(std::uint64_t n) {
  return Bytes{n << 20};
}

}  // namespace lastlight
