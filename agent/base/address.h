// IP addresses and endpoints as values: IPv4 and IPv6 in one type, parsed and printed in the forms operators write
// (192.0.2.1, 2001:db8::1, 192.0.2.1:53, [2001:db8::1]:53). No name is ever looked up here.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sys/socket.h>

namespace lastlight {

class IpAddress {
 public:
  IpAddress() = default;
  static std::optional<IpAddress> parse(std::string_view text);
  static IpAddress v4(std::uint32_t host_order);
  static IpAddress v6(const std::array<std::uint8_t, 16>& network_order);

  bool is_v6() const { return v6_; }
  bool is_loopback() const;
  bool is_link_local() const;  // 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291)
  bool is_unspecified() const;
  // Network order; the first four bytes are used for IPv4.
  const std::array<std::uint8_t, 16>& octets() const { return octets_; }
  std::string to_string() const;

  auto operator<=>(const IpAddress&) const = default;

 private:
  std::array<std::uint8_t, 16> octets_{};
  bool v6_ = false;
};

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;

  // "ADDRESS", "ADDRESS:PORT" or "[V6]:PORT"; `default_port` where none is written.
  static std::optional<Endpoint> parse(std::string_view text, std::uint16_t default_port);
  static std::optional<Endpoint> from_sockaddr(const sockaddr* address);
  socklen_t to_sockaddr(sockaddr_storage& out) const;
  std::string to_string() const;

  auto operator<=>(const Endpoint&) const = default;
};

}  // namespace lastlight
