// The random numbers of back-offs. Jitter needs no secrecy, only that nodes differ.
#pragma once

#include <random>

#include "agent/base/backoff.h"

namespace lastlight::io {

inline Uniform jitter() {
  return [generator = std::minstd_rand(std::random_device{}())]() mutable {
    return std::uniform_real_distribution<double>(0, 1)(generator);
  };
}

}  // namespace lastlight::io
