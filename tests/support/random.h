// A seeded generator for property tests. The seed is LASTLIGHT_SEED or random, and is printed when it is drawn, so that
// a failure can be replayed.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace lastlight::test {

inline std::mt19937_64 seeded_random(const char* what) {
  const char* fixed = std::getenv("LASTLIGHT_SEED");
  const std::uint64_t seed = fixed ? std::strtoull(fixed, nullptr, 10) : std::random_device{}();
  std::printf("%s: LASTLIGHT_SEED=%llu\n", what, static_cast<unsigned long long>(seed));
  return std::mt19937_64(seed);
}

}  // namespace lastlight::test
