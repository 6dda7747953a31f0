#include "dnscache/hash.h"

#include <bit>

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
  void absorb(std::uint64_t word) {
    d ^= word;
    round();
    a ^= word;
  }
};

// The second half of the key from the same seed (one step of splitmix64): the seed is all the entropy there is.
std::uint64_t spread(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t hash_octets(ByteView octets, std::uint64_t seed) {
  const std::uint64_t second = spread(seed);
  SipState state{seed ^ 0x736F6D6570736575ULL, second ^ 0x646F72616E646F6DULL, seed ^ 0x6C7967656E657261ULL,
                 second ^ 0x7465646279746573ULL};
  std::uint64_t word = 0;
  std::size_t filled = 0;
  for (const std::uint8_t octet : octets) {
    word |= std::uint64_t{octet} << (8 * filled);
    if (++filled == 8) {
      state.absorb(word);
      word = 0;
      filled = 0;
    }
  }
  state.absorb(word | (static_cast<std::uint64_t>(octets.size()) << 56));
  state.c ^= 0xFF;
  for (int i = 0; i < 3; ++i)
    state.round();
  return state.a ^ state.b ^ state.c ^ state.d;
}

}  // namespace lastlight::dns
