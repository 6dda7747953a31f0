#include "dnscache/hash.h"

#include <bit>
#include <cstring>

namespace lastlight::dns {

namespace {

struct SipState {
  std::uint64_t a, b, c, d;

  void round() {
    a += b;
    c += d;
    b = std::rotl(b, 13) ^ a;
    d = std::rotl(d, 16) ^ c;
    a = std::rotl(a, 32);
    c += b;
    a += d;
    b = std::rotl(b, 17) ^ c;
    d = std::rotl(d, 21) ^ a;
    c = std::rotl(c, 32);
  }
};

std::uint64_t word_at(ByteView octets, std::size_t at) {
  std::uint64_t word = 0;
  std::memcpy(&word, octets.data() + at, sizeof word);
  return std::endian::native == std::endian::little ? word : __builtin_bswap64(word);
}

// What follows the last whole word, at most seven octets.
std::uint64_t rest_at(ByteView octets, std::size_t at) {
  const std::size_t count = octets.size() - at;
  if (count > 0 && at > 0) return word_at(octets, octets.size() - 8) >> (8 * (8 - count));
  std::uint64_t rest = 0;
  for (std::size_t i = 0; i < count; ++i)
    rest |= std::uint64_t{octets[at + i]} << (8 * i);
  return rest;
}

// C rounds for each word, D at the end.
template <int C, int D>
std::uint64_t sip(ByteView octets, std::uint64_t k0, std::uint64_t k1) {
  SipState state{k0 ^ 0x736F6D6570736575ULL, k1 ^ 0x646F72616E646F6DULL, k0 ^ 0x6C7967656E657261ULL,
                 k1 ^ 0x7465646279746573ULL};
  const auto absorb = [&state](std::uint64_t word) {
    state.d ^= word;
    for (int i = 0; i < C; ++i)
      state.round();
    state.a ^= word;
  };
  std::size_t at = 0;
  for (; octets.size() - at >= 8; at += 8)
    absorb(word_at(octets, at));
  absorb(static_cast<std::uint64_t>(octets.size()) << 56 | rest_at(octets, at));
  state.c ^= 0xFF;
  for (int i = 0; i < D; ++i)
    state.round();
  return state.a ^ state.b ^ state.c ^ state.d;
}

// The second half of the key from the same seed (one step of splitmix64): the seed is all the entropy there is.
std::uint64_t spread(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t hash_octets(ByteView octets, std::uint64_t seed) {
  return sip<1, 3>(octets, seed, spread(seed));
}

std::uint64_t siphash24(ByteView octets, const std::array<std::uint8_t, 16>& key) {
  std::uint64_t half[2] = {};
  for (std::size_t i = 0; i < key.size(); ++i)
    half[i / 8] |= std::uint64_t{key[i]} << (8 * (i % 8));
  return sip<2, 4>(octets, half[0], half[1]);
}

}  // namespace lastlight::dns
