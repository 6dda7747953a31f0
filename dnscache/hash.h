// SipHash-1-3 of octets, keyed by a seed drawn at start, so that nobody can aim names at one bucket. Not for secrets.
// Aumasson and Bernstein, "SipHash: a fast short-input PRF".
#pragma once

#include <cstdint>

#include "agent/base/bytes.h"

namespace lastlight::dns {

std::uint64_t hash_octets(ByteView octets, std::uint64_t seed);

}  // namespace lastlight::dns
