// Server cookies: made and recognised with one secret, drawn at start. A client that sends a cookie is answered with it
// and a server cookie behind it, so that it can tell our answers from forged ones. We ask nothing of a client for it: a
// wrong server cookie is replaced, never refused (RFC 7873 s5.2.3 leaves that to the server), for our clients'
// addresses are the node's own. Owns the secret; remembers no client. RFC 7873 s5.2, 9018 s4 (the layout, SipHash-2-4).
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/address.h"
#include "agent/base/time.h"
#include "dnscache/edns.h"

namespace lastlight::dns {

using CookieSecret = std::array<std::uint8_t, 16>;

class Cookies {
 public:
  explicit Cookies(const CookieSecret& secret) : secret_(secret) {}

  enum class Seen : std::uint8_t { None, ClientOnly, Good, Bad };
  // Judges what came, and puts what is to be answered in its place: the same if it is good and under half an hour old,
  // a new one otherwise. The time in it counts from the machine's start; nobody else reads it.
  Seen renew(Cookie& cookie, const IpAddress& client, Instant now) const;

 private:
  std::uint64_t hash(const Cookie& cookie, const IpAddress& client) const;

  CookieSecret secret_;
};

}  // namespace lastlight::dns
