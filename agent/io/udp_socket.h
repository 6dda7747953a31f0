// UDP in batches: one bound socket, and the message headers of recvmmsg(2) and sendmmsg(2), prepared once and reused
// for every call. What is received lies a little more than a page apart, so that the heads of a batch do not all fall
// into one set of the processor's cache; what is sent lies close together. Never fragments and never obeys a forged
// path MTU (RFC 9715 s3.1: no fragmentation by the sender). Non-blocking; waits nowhere.
#pragma once

#include <cstddef>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <netinet/in.h>
#include <sys/socket.h>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/io/file_descriptor.h"
#include "agent/io/listening_socket.h"

namespace lastlight::io {

class UdpSocket {
 public:
  // The kernel may grant less buffer than asked for: see receive_buffer().
  static std::expected<UdpSocket, std::string> bind(const Endpoint& where, Bytes receive_buffer,
                                                    const SocketSource& source = open_listening_socket);

  // The lease of dnscache/takeover/ruleset.h: an empty datagram to our own address, which a rule is to take and drop.
  enum class Renewal {
    Renewed,    // dropped on its way out (EPERM)
    Unclaimed,  // sent: the rule is not there
    Failed,     // the address is not on this node
  };
  Renewal renew_lease(std::uint16_t port) const;

  int fd() const { return fd_.get(); }
  const Endpoint& local() const { return local_; }  // with the port the kernel chose, if 0 was asked for
  Bytes receive_buffer() const {
    return receive_buffer_;
  }  // as the kernel accounts it: twice the payload it was asked for

 private:
  static UdpSocket adopt(FileDescriptor fd, const Endpoint& where);

  FileDescriptor fd_;
  Endpoint local_;
  Bytes receive_buffer_;
};

// As long as either family needs; a sockaddr_storage is four times that.
union PeerAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

// Header arrays point into the object's own vectors, whose memory stays in place when the object moves.
class UdpReceiver {
 public:
  static constexpr std::size_t kBatch = 64;
  static constexpr std::size_t kSlot = 4096;  // a longer datagram is reported as truncated
  UdpReceiver();

  // How many datagrams came, at most kBatch; 0 when none is waiting; an errno otherwise.
  std::expected<std::size_t, int> receive(int fd);
  // Of the last receive().
  ByteView datagram(std::size_t i) const { return {bytes_.get() + i * kStride, headers_[i].msg_len}; }
  bool truncated(std::size_t i) const { return (headers_[i].msg_hdr.msg_flags & MSG_TRUNC) != 0; }
  std::optional<Endpoint> peer(std::size_t i) const;
  const msghdr& from(std::size_t i) const { return headers_[i].msg_hdr; }

 private:
  static constexpr std::size_t kStride = kSlot + 64;

  std::unique_ptr<std::uint8_t[]> bytes_;  // pages are touched as they are used
  std::vector<PeerAddress> peers_;
  std::vector<iovec> vectors_;
  std::vector<mmsghdr> headers_;
  std::size_t last_ = kBatch;  // datagrams of the last receive()
};

class UdpSender {
 public:
  static constexpr std::size_t kBatch = 64;
  static constexpr std::size_t kSlot = 4096;
  UdpSender();

  bool full() const { return queued_ == kBatch; }
  bool empty() const { return queued_ == 0; }
  std::size_t queued() const { return queued_; }
  MutableByteView slot() { return {bytes_.get() + used_, kSlot}; }  // only when not full
  void queue(std::size_t size, const Endpoint& to);                 // what was written into slot()
  void queue_reply(std::size_t size, const msghdr& to);             // to whom that came from; it stays until flush()

  struct Sent {
    std::size_t sent = 0;
    std::size_t unsent = 0;  // the socket's buffer was full, or the kernel refused this datagram
  };
  Sent flush(int fd);  // empties the batch whatever happens: an answer that cannot leave now is lost, as UDP may

 private:
  void take(std::size_t size);

  std::size_t queued_ = 0;
  std::size_t used_ = 0;                   // of bytes_
  std::unique_ptr<std::uint8_t[]> bytes_;  // pages are touched as they are used
  std::vector<PeerAddress> peers_;
  std::vector<iovec> vectors_;
  std::vector<mmsghdr> headers_;
};

}  // namespace lastlight::io
