// Numbers that nobody can guess, for transaction IDs and the choice of ports (RFC 5452 s9.2). Drawn from the kernel in
// blocks, since each call of it costs half a microsecond.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace lastlight::dns {

class RandomNumbers {
 public:
  std::uint16_t draw();  // ends the process when the kernel gives none

 private:
  std::array<std::uint16_t, 128> numbers_{};
  std::size_t next_ = 128;
};

}  // namespace lastlight::dns
