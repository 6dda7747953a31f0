#include "agent/io/listening_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include <ifaddrs.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/socket.h>

namespace lastlight::io {

namespace {

bool set(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

std::unexpected<std::string> failed(const char* what, const ListeningSocket& wanted) {
  const int error = errno;
  const char* kind = wanted.kind == ListeningSocket::Kind::Udp ? " UDP " : " TCP ";
  std::string text = std::string("cannot ") + what + kind + wanted.where.to_string() + ": " + std::strerror(error);
  const std::string interface = error == EADDRINUSE ? interface_of(wanted.where.address) : std::string();
  if (!interface.empty()) text += " (the address is on " + interface;
  if (interface == "nodelocaldns") text += ": NodeLocal DNSCache serves there";
  return std::unexpected(text + (interface.empty() ? "" : ")"));
}

void prepare_udp(int fd, const ListeningSocket& wanted) {
  // INTERFACE: what is longer than the interface's MTU is not sent, rather than in fragments, and ICMP cannot lower
  // what we believe of the path (DONT would fragment by what a forged message said).
  if (wanted.where.address.is_v6()) {
    set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_INTERFACE);
  } else {
    set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE);
  }
  const std::uint64_t most = std::numeric_limits<int>::max() / 2;
  const int size = static_cast<int>(std::min<std::uint64_t>(wanted.receive_buffer.count, most));
  // FORCE passes net.core.rmem_max, but needs CAP_NET_ADMIN.
  if (size > 0 && !set(fd, SOL_SOCKET, SO_RCVBUFFORCE, size)) set(fd, SOL_SOCKET, SO_RCVBUF, size);
}

}  // namespace

std::string interface_of(const IpAddress& address) {
  std::string found;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return found;
  for (const ifaddrs* each = all; each != nullptr && found.empty(); each = each->ifa_next) {
    const auto there = each->ifa_addr != nullptr ? Endpoint::from_sockaddr(each->ifa_addr) : std::nullopt;
    if (there && there->address == address) found = each->ifa_name;
  }
  ::freeifaddrs(all);
  return found;
}

std::expected<FileDescriptor, std::string> open_listening_socket(const ListeningSocket& wanted) {
  const bool v6 = wanted.where.address.is_v6();
  const bool udp = wanted.kind == ListeningSocket::Kind::Udp;
  const int type = (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
  FileDescriptor fd(::socket(v6 ? AF_INET6 : AF_INET, type, 0));
  if (!fd) return failed("open a socket for", wanted);
  if (v6 && !set(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1)) return failed("keep to IPv6 on", wanted);
  if (!set(fd.get(), IPPROTO_IP, IP_FREEBIND, 1)) return failed("set IP_FREEBIND on", wanted);
  if (udp) {
    prepare_udp(fd.get(), wanted);
  } else {
    set(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  }
  sockaddr_storage address{};
  const socklen_t length = wanted.where.to_sockaddr(address);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) return failed("bind", wanted);
  if (!udp && ::listen(fd.get(), SOMAXCONN) != 0) return failed("listen on", wanted);
  return fd;
}

Endpoint local_endpoint(int fd, const Endpoint& otherwise) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) return otherwise;
  return Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&address)).value_or(otherwise);
}

}  // namespace lastlight::io
