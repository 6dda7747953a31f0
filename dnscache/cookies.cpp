#include "dnscache/cookies.h"

#include <algorithm>

#include "dnscache/hash.h"

namespace lastlight::dns {

namespace {

constexpr std::size_t kStampAt = 12;  // behind the client's cookie, version 1 and three reserved octets
constexpr std::size_t kHashAt = 16;
constexpr std::size_t kWhole = 24;
// RFC 9018 s4.3.
constexpr std::uint32_t kLife = 3600;
constexpr std::uint32_t kAhead = 300;
constexpr std::uint32_t kRenewal = 1800;

void store_hash(Cookie& cookie, std::uint64_t hash) {
  for (std::size_t i = 0; i < 8; ++i)
    cookie.octets[kHashAt + i] = static_cast<std::uint8_t>(hash >> (8 * i));
}

}  // namespace

// Client cookie, version, reserved, time, address (RFC 9018 s4.4).
std::uint64_t Cookies::hash(const Cookie& cookie, const IpAddress& client) const {
  std::array<std::uint8_t, kHashAt + 16> text{};
  std::copy_n(cookie.octets.begin(), kHashAt, text.begin());
  const std::size_t address = client.is_v6() ? 16 : 4;
  std::copy_n(client.octets().begin(), address, text.begin() + kHashAt);
  return siphash24({text.data(), kHashAt + address}, secret_);
}

Cookies::Seen Cookies::renew(Cookie& cookie, const IpAddress& client, Instant now) const {
  if (cookie.size == 0) return Seen::None;
  const auto seconds =
      static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count());
  Seen seen = cookie.size == Cookie::kClient ? Seen::ClientOnly : Seen::Bad;
  if (cookie.size == kWhole) {
    Cookie expected = cookie;
    store_hash(expected, hash(cookie, client));
    const std::uint32_t age = seconds - load32(cookie.octets, kStampAt);  // serial arithmetic (RFC 1982)
    const bool timely = age <= kLife || 0U - age <= kAhead;
    // The comparison's time tells nothing of use: a wrong cookie costs the client nothing.
    if (cookie.octets[8] == 1 && timely && expected.octets == cookie.octets) seen = Seen::Good;
    if (seen == Seen::Good && age <= kRenewal) return seen;
  }
  std::fill(cookie.octets.begin() + Cookie::kClient, cookie.octets.end(), std::uint8_t{0});
  cookie.octets[8] = 1;
  store32(cookie.octets, kStampAt, seconds);
  store_hash(cookie, hash(cookie, client));
  cookie.size = kWhole;
  return seen;
}

}  // namespace lastlight::dns
