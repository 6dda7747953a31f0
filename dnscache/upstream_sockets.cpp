#include "dnscache/upstream_sockets.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "dnscache/wire.h"

namespace lastlight::dns::upstream_sockets {

namespace {

bool may_answer(ByteView datagram, std::uint16_t opcodes) {
  if (datagram.size() < kHeaderSize) return false;  // c-ares would give the socket up
  const std::uint16_t flags = load16(datagram, 2);
  return (flags & kQr) != 0 && (opcodes >> opcode_of(flags) & 1) != 0;
}

// What the kernel says of one datagram, and not of its socket.
bool lost_alone(int error) {
  return error == EPERM || error == EMSGSIZE || error == ENOBUFS || error == ENOMEM;
}

ssize_t fail(int error) {
  errno = error;
  return -1;
}

}  // namespace

int open(int family, int type, int protocol) {
  const int fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  const int on = 1;
  if (fd >= 0 && type == SOCK_STREAM) static_cast<void>(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
  return fd;
}

ssize_t send(int fd, const iovec* parts, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);  // is only read
  message.msg_iovlen = static_cast<std::size_t>(count);
  return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

Inbox::Inbox() : stream_(std::make_unique_for_overwrite<std::uint8_t[]>(kStream)) {}

void Inbox::begin(int fd, int error) {
  fd_ = fd;
  error_ = error;
  read_ = error != 0;
  next_ = count_ = 0;
}

ssize_t Inbox::datagram(int fd, void* into, std::size_t room, sockaddr* from, socklen_t* from_size,
                        std::uint16_t opcodes) {
  if (fd != fd_) return fail(EAGAIN);
  if (error_ != 0) return fail(std::exchange(error_, 0));
  if (!read_) {
    read_ = true;
    const auto got = datagrams_.receive(fd);
    if (!got) return fail(got.error());
    count_ = *got;
  }
  while (next_ < count_) {
    const std::size_t i = next_++;
    const ByteView octets = datagrams_.datagram(i);
    if (!may_answer(octets, opcodes)) continue;
    const std::size_t size = std::min(octets.size(), room);
    std::memcpy(into, octets.data(), size);
    const msghdr& header = datagrams_.from(i);
    if (from != nullptr && from_size != nullptr) {
      std::memcpy(from, header.msg_name, std::min(*from_size, header.msg_namelen));
      *from_size = header.msg_namelen;
    }
    return static_cast<ssize_t>(size);
  }
  return fail(EAGAIN);
}

ssize_t Inbox::stream(int fd, void* into, std::size_t room) {
  if (fd != fd_) return fail(EAGAIN);
  if (error_ != 0) return fail(std::exchange(error_, 0));
  if (!read_) {
    read_ = true;
    const ssize_t got = ::recv(fd, stream_.get(), kStream, 0);
    if (got <= 0) return got;
    count_ = static_cast<std::size_t>(got);
  }
  if (next_ == count_) return fail(EAGAIN);
  const std::size_t size = std::min(room, count_ - next_);
  std::memcpy(into, stream_.get() + next_, size);
  next_ += size;
  return static_cast<ssize_t>(size);
}

ssize_t size_of(const iovec* parts, int count) {
  std::size_t size = 0;
  for (int i = 0; i < count; ++i)
    size += parts[i].iov_len;
  return static_cast<ssize_t>(size);
}

ssize_t Outbox::put(const iovec* parts, int count) {
  const std::size_t before = octets_.size();
  for (int i = 0; i < count; ++i) {
    const auto* octets = static_cast<const std::uint8_t*>(parts[i].iov_base);
    octets_.insert(octets_.end(), octets, octets + parts[i].iov_len);
  }
  ends_[count_++] = static_cast<std::uint32_t>(octets_.size());
  return static_cast<ssize_t>(octets_.size() - before);
}

void Outbox::clear() {
  octets_.clear();
  count_ = 0;
}

int Outbox::flush(int fd) {
  std::array<iovec, kMost> parts;
  std::array<mmsghdr, kMost> messages;
  for (std::size_t i = 0, begin = 0; i < count_; begin = ends_[i++]) {
    parts[i] = {octets_.data() + begin, ends_[i] - begin};
    messages[i] = {};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  std::size_t sent = 0;
  while (sent < count_) {
    const int now = ::sendmmsg(fd, messages.data() + sent, static_cast<unsigned>(count_ - sent), MSG_NOSIGNAL);
    if (now > 0) {
      sent += static_cast<std::size_t>(now);
    } else if (lost_alone(errno)) {
      ++sent;
    } else if (errno != EINTR) {
      break;
    }
  }
  const int error = sent < count_ ? errno : 0;
  if (error != EAGAIN) {
    clear();
    return error;
  }
  Outbox rest;
  for (; sent < count_; ++sent)
    rest.put(&parts[sent], 1);
  *this = std::move(rest);
  return error;
}

}  // namespace lastlight::dns::upstream_sockets
