// A client's query, read once: what is asked, how, and the key that the cache and the flights know it by. Owns nothing:
// a Query points into its packet. RFC 1035 s4.1, 6891 s6.1 (one OPT, root owner, version), 8906 (answer what is
// readable), 9619 (one question; none with a cookie, 7873 s5.4).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "agent/base/bytes.h"
#include "dnscache/edns.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

struct Query {
  std::uint16_t id = 0;
  std::uint16_t flags = 0;
  ByteView question;  // name, type and class as they stand in the packet; empty if they could not be read
  std::uint16_t type = 0;
  std::uint16_t qclass = 0;
  std::optional<Edns> edns;

  ByteView name() const { return question.empty() ? question : question.first(question.size() - 4); }
  std::uint8_t opcode() const { return opcode_of(flags); }
};

enum class Reading : std::uint8_t {
  Query,      // well formed; any opcode
  TooShort,   // under 12 octets: no ID to answer with
  Response,   // QR=1: answering it could start a loop
  Malformed,  // FORMERR; `out` has what was readable
};

Reading read_query(ByteView packet, Query& out);

// Name (lower-cased), type, class, and the bits that change the answer: DO (RRSIGs), CD (bogus data allowed) and RD (a
// server may answer RD=0 by a referral). At most 260 octets.
class Key {
 public:
  static constexpr std::size_t kLongest = 1 + kMaxName + 4;

  Key() = default;
  explicit Key(const Query& query) { assign(query); }
  void assign(const Query& query);  // copies no more than there is
  ByteView view() const { return {octets_.data(), size_}; }
  // The question as octets, for error replies and comparison: name, type, class.
  ByteView question() const { return view().subspan(1); }  // not of an empty one

 private:
  std::array<std::uint8_t, kLongest> octets_;  // as many as are written
  std::size_t size_ = 0;
};

// Whether a key's view is of a query with DO.
inline bool key_has_dnssec_ok(ByteView key) {
  return (key[0] & 1) != 0;
}

inline ByteView name_of_key(ByteView key) {
  return key.subspan(1, key.size() - 5);
}

// The query a key stands for: what is asked when no client does. Points into the key.
Query query_of(ByteView key);

// What goes upstream for a query: RD and CD of the client, AD set so that the answer says whether it was validated
// (RFC 6840 s5.7; masked per client), an OPT of `payload` with the client's DO. No option of the client passes: ECS and
// cookies are between hops (RFC 7871 s7.1, 7873 s4). ID 0.
void upstream_query(const Query& query, std::uint16_t payload, ByteBuffer& out);

}  // namespace lastlight::dns
