// UDP in batches: one bound socket, and the message headers of recvmmsg(2) and sendmmsg(2), prepared once and reused
// for every call. Never fragments and never obeys a forged path MTU (RFC 9715 s3.1: no fragmentation by the sender).
// Non-blocking; waits nowhere.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <vector>

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

// Header arrays point into the object's own vectors, whose memory stays in place when the object moves.
class UdpReceiver {
 public:
  static constexpr std::size_t kBatch = 64;
  static constexpr std::size_t kSlot = 4096;  // a longer datagram is reported as truncated
  UdpReceiver();

  // How many datagrams came, at most kBatch; 0 when none is waiting; an errno otherwise.
  std::expected<std::size_t, int> receive(int fd);
  // Of the last receive().
  ByteView datagram(std::size_t i) const { return {bytes_.data() + i * kSlot, headers_[i].msg_len}; }
  bool truncated(std::size_t i) const { return (headers_[i].msg_hdr.msg_flags & MSG_TRUNC) != 0; }
  std::optional<Endpoint> peer(std::size_t i) const;

 private:
  ByteBuffer bytes_;
  std::vector<sockaddr_storage> peers_;
  std::vector<iovec> vectors_;
  std::vector<mmsghdr> headers_;
};

class UdpSender {
 public:
  static constexpr std::size_t kBatch = 64;
  static constexpr std::size_t kSlot = 4096;
  UdpSender();

  bool full() const { return queued_ == kBatch; }
  bool empty() const { return queued_ == 0; }
  MutableByteView slot() { return {bytes_.data() + queued_ * kSlot, kSlot}; }  // only when not full
  void queue(std::size_t size, const Endpoint& to);                            // what was written into slot()

  struct Sent {
    std::size_t sent = 0;
    std::size_t unsent = 0;  // the socket's buffer was full, or the kernel refused this datagram
  };
  Sent flush(int fd);  // empties the batch whatever happens: an answer that cannot leave now is lost, as UDP may

 private:
  std::size_t queued_ = 0;
  ByteBuffer bytes_;
  std::vector<sockaddr_storage> peers_;
  std::vector<iovec> vectors_;
  std::vector<mmsghdr> headers_;
};

}  // namespace lastlight::io
