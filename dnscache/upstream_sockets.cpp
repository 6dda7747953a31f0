#include "dnscache/upstream_sockets.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "dnscache/wire.h"

namespace lastlight::dns::upstream_sockets {

namespace {

bool may_answer(ByteView datagram, std::uint16_t opcodes) {
  if (datagram.size() < kHeaderSize) return true;  // c-ares drops it
  const std::uint16_t flags = load16(datagram, 2);
  return (flags & kQr) != 0 && (opcodes >> opcode_of(flags) & 1) != 0;
}

}  // namespace

int open(int family, int type, int protocol) {
  const int fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  const int on = 1;
  if (fd >= 0 && type == SOCK_STREAM) static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  return fd;
}

ssize_t receive(int fd, void* into, std::size_t room, int flags, sockaddr* from, socklen_t* from_size,
                std::uint16_t opcodes) {
  if (from == nullptr) return ::recv(fd, into, room, flags);
  const socklen_t most = *from_size;
  for (;;) {
    *from_size = most;
    const ssize_t got = ::recvfrom(fd, into, room, flags, from, from_size);
    if (got < 0) return got;
    if (may_answer({static_cast<const std::uint8_t*>(into), static_cast<std::size_t>(got)}, opcodes)) return got;
  }
}

ssize_t send(int fd, const iovec* parts, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);  // is only read
  message.msg_iovlen = static_cast<std::size_t>(count);
  return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

}  // namespace lastlight::dns::upstream_sockets
