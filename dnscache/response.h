// Writes what a client is sent: a kept answer made its own (ID, case of the name, RD, AD, EDNS, size), or an error.
// Owns nothing and allocates nothing. RFC 1035 s4.1.1, 2181 s9 (TC), 4035 s3.2.3 and 6840 s5.8 (AD), 6891 s6.1.1,
// s6.2.5 (OPT and size), 8914 (EDE), 9715.
#pragma once

#include <cstdint>
#include <optional>

#include "agent/base/bytes.h"
#include "dnscache/answer.h"
#include "dnscache/edns.h"
#include "dnscache/query.h"

namespace lastlight::dns {

// The most octets a client takes: 65535 over TCP; over UDP 512 without EDNS, otherwise what it offers, at least 512 and
// at most `udp_payload`.
std::size_t size_limit(const Query& query, bool udp, std::uint16_t udp_payload);

struct ResponseForm {
  std::size_t limit = 512;
  std::uint16_t payload = 1232;                     // what our OPT advertises
  std::uint32_t age = 0;                            // seconds to take from every TTL
  std::optional<std::uint32_t> ttl = std::nullopt;  // of every record instead (RFC 8767 s4)
  // Only written if the query had EDNS.
  std::optional<Ede> ede = std::nullopt;
  std::optional<std::uint16_t> keepalive = std::nullopt;  // 100 ms each (RFC 7828 s3.1)
};

struct Written {
  std::size_t size = 0;
  bool truncated = false;
};

// Too long for the limit: additional goes first, then authority; TC is set only if the answer section is cut, too, and
// then as many whole records as fit are left (resolvers that never retry over TCP exist: musl before 1.2.4). To a
// client with DO the authority section is the proof of a negative answer: without it TC is set (RFC 4035 s3.1.1).
Written write_answer(const Answer& answer, const Query& query, const ResponseForm& form, MutableByteView out);

// A header, the question if it was readable, and an OPT if the query had one. `rcode` may be extended (BADVERS).
std::size_t write_error(const Query& query, std::uint16_t rcode, const ResponseForm& form, MutableByteView out);

}  // namespace lastlight::dns
