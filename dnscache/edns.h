// EDNS between us and one neighbour: a client's OPT read, ours written. An OPT is hop by hop (RFC 6891 s6.2.6), so
// nothing of a client's passes upstream and nothing of an upstream's comes back: no client subnet either way (RFC 7871
// s7.1), and neither cookies nor keepalive reach the key of the cache. Owns nothing. RFC 6891 s6.1, 7828 (keepalive),
// 7873 s5 (cookies), 8914 (extended errors).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "agent/base/bytes.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

// RFC 8914 s4.
enum class Ede : std::uint16_t {
  Other = 0,
  StaleAnswer = 3,
  CachedError = 13,
  NotReady = 14,
  StaleNxDomain = 19,
  NotAuthoritative = 20,
  NotSupported = 21,
  NoReachableAuthority = 22,
  NetworkError = 23,
  InvalidData = 24
};

// RFC 7873 s4: the client's 8 octets, and 8 to 32 of the server's behind them once the client has some.
struct Cookie {
  static constexpr std::size_t kClient = 8;
  static constexpr std::size_t kMost = 40;
  std::array<std::uint8_t, kMost> octets{};
  std::uint8_t size = 0;  // 0: the client does not speak of cookies

  ByteView view() const { return {octets.data(), size}; }
};

struct Edns {
  std::uint8_t version = 0;
  std::uint16_t payload = 512;
  bool dnssec_ok = false;
  bool keepalive = false;  // asked how long a connection may be idle
  Cookie cookie = {};      // as it came; what is written back once Cookies::renew has seen it
};

// `out` is what could be read, also when the OPT is malformed (false): then the answer is a FORMERR with our OPT. The
// options of a version that is not 0 are not looked at, for nobody knows what they mean.
bool read_opt(ByteView message, const Record& opt, Edns& out);

// What ours says beside the version, which is 0.
struct OptForm {
  std::uint16_t payload = 1232;
  std::uint16_t rcode = 0;  // all twelve bits
  bool dnssec_ok = false;
  std::optional<Ede> ede = std::nullopt;
  std::optional<std::uint16_t> keepalive = std::nullopt;  // 100 ms each
  ByteView cookie = {};

  std::size_t size() const;
};

inline constexpr std::size_t kBareOpt = 11;

// Writes size() octets to the start of `out`, which has as many.
void write_opt(const OptForm& form, MutableByteView out);

}  // namespace lastlight::dns
