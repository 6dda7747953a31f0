#include "agent/io/udp_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include <netinet/in.h>
#include <netinet/ip.h>

namespace lastlight::io {

namespace {

bool set(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

std::unexpected<std::string> failed(const char* what, const Endpoint& where) {
  return std::unexpected(std::string("cannot ") + what + " UDP " + where.to_string() + ": " + std::strerror(errno));
}

void never_fragment(int fd, bool v6) {
  // INTERFACE: what is longer than the interface's MTU is not sent, rather than in fragments, and ICMP cannot lower
  // what we believe of the path (DONT would fragment by what a forged message said).
  if (v6) {
    set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_INTERFACE);
  } else {
    set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_INTERFACE);
  }
}

Bytes size_receive_buffer(int fd, Bytes wanted) {
  const int size = static_cast<int>(std::min<std::uint64_t>(wanted.count, std::numeric_limits<int>::max() / 2));
  // FORCE passes net.core.rmem_max, but needs CAP_NET_ADMIN.
  if (size > 0 && !set(fd, SOL_SOCKET, SO_RCVBUFFORCE, size)) set(fd, SOL_SOCKET, SO_RCVBUF, size);
  int granted = 0;
  socklen_t length = sizeof granted;
  ::getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &granted, &length);
  return Bytes{static_cast<std::uint64_t>(std::max(granted, 0))};
}

void prepare(ByteBuffer& bytes, std::vector<sockaddr_storage>& peers, std::vector<iovec>& vectors,
             std::vector<mmsghdr>& headers, std::size_t count, std::size_t slot) {
  bytes.resize(count * slot);
  peers.resize(count);
  vectors.resize(count);
  headers.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    vectors[i] = {bytes.data() + i * slot, slot};
    headers[i].msg_hdr.msg_name = &peers[i];
    headers[i].msg_hdr.msg_namelen = sizeof peers[i];
    headers[i].msg_hdr.msg_iov = &vectors[i];
    headers[i].msg_hdr.msg_iovlen = 1;
  }
}

}  // namespace

std::expected<UdpSocket, std::string> UdpSocket::bind(const Endpoint& where, Bytes receive_buffer) {
  const bool v6 = where.address.is_v6();
  UdpSocket result;
  result.fd_ = FileDescriptor(::socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int fd = result.fd_.get();
  if (fd < 0) return failed("open a socket for", where);
  if (v6 && !set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1)) return failed("keep to IPv6 on", where);
  if (!set(fd, IPPROTO_IP, IP_FREEBIND, 1)) return failed("set IP_FREEBIND on", where);
  never_fragment(fd, v6);
  result.receive_buffer_ = size_receive_buffer(fd, receive_buffer);
  sockaddr_storage address{};
  socklen_t length = where.to_sockaddr(address);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), length) != 0) return failed("bind", where);
  length = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  result.local_ = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&address)).value_or(where);
  return result;
}

UdpReceiver::UdpReceiver() {
  prepare(bytes_, peers_, vectors_, headers_, kBatch, kSlot);
}

std::expected<std::size_t, int> UdpReceiver::receive(int fd) {
  // The kernel shortens namelen to what it wrote; everything else stays as prepared.
  for (mmsghdr& h : headers_)
    h.msg_hdr.msg_namelen = sizeof(sockaddr_storage);
  int count;
  do {
    count = ::recvmmsg(fd, headers_.data(), static_cast<unsigned>(kBatch), MSG_DONTWAIT, nullptr);
  } while (count < 0 && errno == EINTR);
  if (count >= 0) return static_cast<std::size_t>(count);
  if (errno == EAGAIN) return 0;
  return std::unexpected(errno);
}

std::optional<Endpoint> UdpReceiver::peer(std::size_t i) const {
  return Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&peers_[i]));
}

UdpSender::UdpSender() {
  prepare(bytes_, peers_, vectors_, headers_, kBatch, kSlot);
}

void UdpSender::queue(std::size_t size, const Endpoint& to) {
  vectors_[queued_].iov_len = std::min(size, kSlot);
  headers_[queued_].msg_hdr.msg_namelen = to.to_sockaddr(peers_[queued_]);
  ++queued_;
}

UdpSender::Sent UdpSender::flush(int fd) {
  Sent result;
  std::size_t next = 0;
  while (next < queued_) {
    const int count = ::sendmmsg(fd, headers_.data() + next, static_cast<unsigned>(queued_ - next), MSG_DONTWAIT);
    if (count > 0) {
      result.sent += static_cast<std::size_t>(count);
      next += static_cast<std::size_t>(count);
    } else if (errno == EINTR) {
      continue;
    } else if (errno == EAGAIN) {
      break;
    } else {
      ++next;  // this datagram alone is refused (no route, a firewall): the ones behind it are somebody else's answers
    }
  }
  result.unsent = queued_ - result.sent;
  queued_ = 0;
  return result;
}

}  // namespace lastlight::io
