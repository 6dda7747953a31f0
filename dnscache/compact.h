// An upstream's answer written anew: names compressed, and without the signatures that nobody asked for. CoreDNS
// compresses only what would be too long otherwise, and over TCP nothing is: sent on as they are, its answers would be
// cut for UDP clients that they fit. Owns nothing; its work is linear in the message. RFC 1035 s4.1.4, 3597 s4 (whose
// RDATA may be compressed), 4035 s3.2.1.
#pragma once

#include <cstdint>
#include <optional>

#include "agent/base/bytes.h"

namespace lastlight::dns {

// RRSIG, NSEC, NSEC3: only for a client that set DO, or asked for the type.
bool is_signature(std::uint16_t type);

// `reply` has been read whole, and its question is `question`. None if the result were longer than a message may be.
std::optional<ByteBuffer> compact(ByteView reply, ByteView question, bool with_signatures);

}  // namespace lastlight::dns
