#include "dnscache/random_numbers.h"

#include <cerrno>
#include <cstdlib>

#include <sys/random.h>

namespace lastlight::dns {

std::uint16_t RandomNumbers::draw() {
  if (next_ == numbers_.size()) {
    auto* bytes = reinterpret_cast<unsigned char*>(numbers_.data());
    std::size_t have = 0;
    while (have < sizeof numbers_) {
      const ssize_t got = ::getrandom(bytes + have, sizeof numbers_ - have, 0);
      if (got > 0) have += static_cast<std::size_t>(got);
      if (got < 0 && errno != EINTR) std::abort();  // guessable IDs are worse than no service
    }
    next_ = 0;
  }
  return numbers_[next_++];
}

}  // namespace lastlight::dns
