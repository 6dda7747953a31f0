#include "agent/io/udp_socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace lastlight::io {

namespace {

void prepare(std::vector<PeerAddress>& peers, std::vector<iovec>& vectors, std::vector<mmsghdr>& headers,
             std::size_t count) {
  peers.resize(count);
  vectors.resize(count);
  headers.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    headers[i].msg_hdr.msg_name = &peers[i];
    headers[i].msg_hdr.msg_namelen = sizeof peers[i];
    headers[i].msg_hdr.msg_iov = &vectors[i];
    headers[i].msg_hdr.msg_iovlen = 1;
  }
}

}  // namespace

UdpSocket UdpSocket::adopt(FileDescriptor fd, const Endpoint& where) {
  UdpSocket result;
  result.local_ = local_endpoint(fd.get(), where);
  int granted = 0;
  socklen_t length = sizeof granted;
  ::getsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &granted, &length);
  result.receive_buffer_ = Bytes{static_cast<std::uint64_t>(std::max(granted, 0))};
  result.fd_ = std::move(fd);
  return result;
}

std::expected<UdpSocket, std::string> UdpSocket::bind(const Endpoint& where, Bytes receive_buffer,
                                                      const SocketSource& source) {
  auto fd = source({ListeningSocket::Kind::Udp, where, receive_buffer});
  if (!fd) return std::unexpected(std::move(fd.error()));
  return adopt(std::move(*fd), where);
}

UdpSocket::Renewal UdpSocket::renew_lease(std::uint16_t port) const {
  sockaddr_storage address{};
  const socklen_t length = Endpoint{local_.address, port}.to_sockaddr(address);
  if (::sendto(fd_.get(), nullptr, 0, MSG_DONTWAIT, reinterpret_cast<const sockaddr*>(&address), length) == 0) {
    return Renewal::Unclaimed;
  }
  return errno == EPERM ? Renewal::Renewed : Renewal::Failed;
}

UdpReceiver::UdpReceiver() : bytes_(std::make_unique_for_overwrite<std::uint8_t[]>(kBatch * kStride)) {
  prepare(peers_, vectors_, headers_, kBatch);
  for (std::size_t i = 0; i < kBatch; ++i)
    vectors_[i] = {bytes_.get() + i * kStride, kSlot};
}

std::expected<std::size_t, int> UdpReceiver::receive(int fd) {
  // The kernel shortens namelen to what it wrote; everything else stays as prepared.
  for (std::size_t i = 0; i < last_; ++i)
    headers_[i].msg_hdr.msg_namelen = sizeof(PeerAddress);
  last_ = 0;
  int count;
  do {
    count = ::recvmmsg(fd, headers_.data(), static_cast<unsigned>(kBatch), MSG_DONTWAIT, nullptr);
  } while (count < 0 && errno == EINTR);
  if (count >= 0) return last_ = static_cast<std::size_t>(count);
  if (errno == EAGAIN) return 0;
  return std::unexpected(errno);
}

std::optional<Endpoint> UdpReceiver::peer(std::size_t i) const {
  return Endpoint::from_sockaddr(&peers_[i].any);
}

UdpSender::UdpSender() : bytes_(std::make_unique_for_overwrite<std::uint8_t[]>(kBatch * kSlot)) {
  prepare(peers_, vectors_, headers_, kBatch);
}

void UdpSender::queue(std::size_t size, const Endpoint& to) {
  sockaddr_storage address;
  msghdr& header = headers_[queued_].msg_hdr;
  header.msg_namelen = to.to_sockaddr(address);
  std::memcpy(&peers_[queued_], &address, header.msg_namelen);
  header.msg_name = &peers_[queued_];
  take(size);
}

void UdpSender::queue_reply(std::size_t size, const msghdr& to) {
  headers_[queued_].msg_hdr.msg_name = to.msg_name;
  headers_[queued_].msg_hdr.msg_namelen = to.msg_namelen;
  take(size);
}

void UdpSender::take(std::size_t size) {
  constexpr std::size_t kLine = 64;
  vectors_[queued_++] = {bytes_.get() + used_, std::min(size, kSlot)};
  used_ += (std::min(size, kSlot) + kLine - 1) / kLine * kLine;
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
  queued_ = used_ = 0;
  return result;
}

}  // namespace lastlight::io
