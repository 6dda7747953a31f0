// Sixty-four datagrams at a time: the message headers of recvmmsg(2) and sendmmsg(2), prepared once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <netinet/in.h>
#include <sys/socket.h>

#include "agent/base/address.h"

namespace lastlight::bench {

[[noreturn]] inline void give_up(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct Batch {
  static constexpr std::size_t kMost = 64;
  static constexpr std::size_t kSlot = 2048;

  std::array<std::array<std::uint8_t, kSlot>, kMost> octets{};
  std::array<sockaddr_in, kMost> peers{};
  std::array<iovec, kMost> vectors{};
  std::array<mmsghdr, kMost> headers{};

  // `named`: with each datagram's peer, for sockets that are not connected.
  explicit Batch(bool named) {
    for (std::size_t i = 0; i < kMost; ++i) {
      vectors[i] = {octets[i].data(), kSlot};
      headers[i].msg_hdr = {};
      headers[i].msg_hdr.msg_iov = &vectors[i];
      headers[i].msg_hdr.msg_iovlen = 1;
      if (!named) continue;
      headers[i].msg_hdr.msg_name = &peers[i];
      headers[i].msg_hdr.msg_namelen = sizeof peers[i];
    }
  }
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
};

inline sockaddr_in address_of(const char* text) {
  const auto where = Endpoint::parse(text, 53);
  sockaddr_storage storage{};
  if (!where || where->to_sockaddr(storage) != sizeof(sockaddr_in)) {
    std::fprintf(stderr, "%s is no IPv4 address with a port\n", text);
    std::exit(2);
  }
  return *reinterpret_cast<sockaddr_in*>(&storage);
}

inline int udp_socket(const sockaddr_in& local) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int size = 8 << 20;
  if (fd < 0) give_up("socket");
  // Where we may, past net.core.rmem_max: what is lost here would look as if the server had lost it.
  if (::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0)
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0) give_up("bind");
  return fd;
}

}  // namespace lastlight::bench
