#include "agent/base/address.h"

#include <charconv>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>

namespace lastlight {

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.size() >= INET6_ADDRSTRLEN) return std::nullopt;
  const std::string copy(text);
  IpAddress out;
  if (inet_pton(AF_INET, copy.c_str(), out.octets_.data()) == 1) return out;
  if (inet_pton(AF_INET6, copy.c_str(), out.octets_.data()) == 1) {
    out.v6_ = true;
    return out;
  }
  return std::nullopt;
}

IpAddress IpAddress::v4(std::uint32_t host_order) {
  IpAddress out;
  const std::uint32_t network = htonl(host_order);
  std::memcpy(out.octets_.data(), &network, sizeof network);
  return out;
}

IpAddress IpAddress::v6(const std::array<std::uint8_t, 16>& network_order) {
  IpAddress out;
  out.octets_ = network_order;
  out.v6_ = true;
  return out;
}

bool IpAddress::is_loopback() const {
  return v6_ ? *this == *parse("::1") : octets_[0] == 127;
}

bool IpAddress::is_link_local() const {
  return v6_ ? octets_[0] == 0xfe && (octets_[1] & 0xc0) == 0x80 : octets_[0] == 169 && octets_[1] == 254;
}

bool IpAddress::is_unspecified() const {
  return octets_ == std::array<std::uint8_t, 16>{};
}

std::string IpAddress::to_string() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(v6_ ? AF_INET6 : AF_INET, octets_.data(), text.data(), text.size());
  return text.data();
}

std::optional<Endpoint> Endpoint::parse(std::string_view text, std::uint16_t default_port) {
  if (auto bare = IpAddress::parse(text)) return Endpoint{*bare, default_port};

  std::string_view host;
  const auto colon = text.rfind(':');
  if (!text.empty() && text.front() == '[') {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    host = text.substr(1, close - 1);
    const auto address = IpAddress::parse(host);
    if (!address || !address->is_v6()) return std::nullopt;
    if (close + 1 == text.size()) return Endpoint{*address, default_port};
    if (text[close + 1] != ':' || colon != close + 1) return std::nullopt;
  } else {
    if (colon == std::string_view::npos) return std::nullopt;
    host = text.substr(0, colon);
    const auto address = IpAddress::parse(host);
    if (!address || address->is_v6()) return std::nullopt;  // IPv6 with a port needs brackets (RFC 5952 s6)
  }

  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return Endpoint{*IpAddress::parse(host), port};
}

std::optional<Endpoint> Endpoint::from_sockaddr(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return Endpoint{IpAddress::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    std::array<std::uint8_t, 16> octets{};
    std::memcpy(octets.data(), &in.sin6_addr, octets.size());
    return Endpoint{IpAddress::v6(octets), ntohs(in.sin6_port)};
  }
  return std::nullopt;
}

socklen_t Endpoint::to_sockaddr(sockaddr_storage& out) const {
  out = {};
  if (address.is_v6()) {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, address.octets().data(), sizeof in.sin6_addr);
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  std::memcpy(&in.sin_addr, address.octets().data(), sizeof in.sin_addr);
  std::memcpy(&out, &in, sizeof in);
  return sizeof in;
}

std::string Endpoint::to_string() const {
  const std::string host = address.to_string();
  return (address.is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace lastlight
