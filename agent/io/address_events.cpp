#include "agent/io/address_events.h"

#include <cerrno>
#include <cstring>

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace lastlight::io {

std::expected<void, std::string> AddressEvents::start() {
  socket_ = FileDescriptor(::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE));
  sockaddr_nl groups{};
  groups.nl_family = AF_NETLINK;
  groups.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (!socket_ || ::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&groups), sizeof groups) != 0)
    return std::unexpected(std::strerror(errno));
  poll_ = std::make_unique<Poll>(loop_, socket_.get(), [this](Poll::Ready) { drain(); });
  poll_->watch(true, false);
  return {};
}

// A buffer that ran over (ENOBUFS) is a change as well. Bounded: what is left wakes us again.
void AddressEvents::drain() {
  constexpr int kAtOnce = 64;
  char unread;
  for (int i = 0; i < kAtOnce; ++i) {
    if (::recv(socket_.get(), &unread, sizeof unread, MSG_TRUNC) < 0 && errno != ENOBUFS) break;
  }
  changed_();
}

}  // namespace lastlight::io
