// Prints names that fall into one slot of a table with the seed of rig/seed.c: COUNT of them, of SLOTS slots.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "agent/base/bytes.h"
#include "dnscache/hash.h"

int main(int, char** argv) {
  const unsigned long count = std::strtoul(argv[1], nullptr, 10);
  const std::uint64_t slots = std::strtoul(argv[2], nullptr, 10);
  for (unsigned long found = 0, n = 0; found < count; ++n) {
    const std::string label = "n" + std::to_string(n);
    // As dnscache/query.h makes a key: the bit RD, the name, type A, class IN.
    lastlight::ByteBuffer key{4, static_cast<std::uint8_t>(label.size())};
    key.insert(key.end(), label.begin(), label.end());
    for (const char octet : std::string("\4test\0\0\1\0\1", 10))
      key.push_back(static_cast<std::uint8_t>(octet));
    if (lastlight::dns::hash_octets(key, 0x2A2A2A2A2A2A2A2AU) % slots != 7) continue;
    std::printf("%s.test\n", label.c_str());
    ++found;
  }
}
