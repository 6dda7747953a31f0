// SipHash (Aumasson and Bernstein, "SipHash: a fast short-input PRF"). Pure.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"

namespace lastlight::dns {

// SipHash-1-3, keyed by a seed drawn at start, so that nobody can aim names at one bucket. Not for secrets.
std::uint64_t hash_octets(ByteView octets, std::uint64_t seed);

// SipHash-2-4, for what a stranger must not be able to forge.
std::uint64_t siphash24(ByteView octets, const std::array<std::uint8_t, 16>& key);

}  // namespace lastlight::dns
