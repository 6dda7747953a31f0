// The system calls of an upstream's sockets, for c-ares to make its own by. c-ares reads and writes one message at a
// time; here many cost one call of the kernel: what a turn of the loop asks over UDP leaves by sendmmsg, what has come
// is taken by recvmmsg, or by one recv from a stream, and handed over piece by piece.
//
// A datagram with a question's ID and name that is no answer (QR=0, or an opcode that was not asked with) would end the
// question, as c-ares takes any for its reply. RFC 5452 s9.1 has it ignored and waited on: it is not handed over.
//
// Bounds: one Inbox for all sockets, 64 datagrams of 4 KiB or 64 KiB of a stream; kMost questions in an Outbox.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include <sys/socket.h>
#include <sys/uio.h>

#include "agent/base/bytes.h"
#include "agent/io/udp_socket.h"

namespace lastlight::dns::upstream_sockets {

// Not blocking; -1 and errno, here and below, as the system has it.
int open(int family, int type, int protocol);
ssize_t send(int fd, const iovec* parts, int count);
ssize_t size_of(const iovec* parts, int count);

// What one call of the kernel brought of one socket. Between begin() and end() that socket is read at most once; before
// and after, nothing is.
class Inbox {
 public:
  Inbox();
  // With an error, that is what the first read says.
  void begin(int fd, int error = 0);
  void end() { fd_ = -1; }
  // It may be closed in the midst of being read.
  void closed(int fd) { fd_ = fd == fd_ ? -1 : fd_; }
  // How much is left to hand over; 0 too when the socket has been closed.
  std::size_t left() const { return fd_ < 0 ? 0 : count_ - next_; }

  // `opcodes`: a bit for each that was asked with.
  ssize_t datagram(int fd, void* into, std::size_t room, sockaddr* from, socklen_t* from_size, std::uint16_t opcodes);
  ssize_t stream(int fd, void* into, std::size_t room);

 private:
  static constexpr std::size_t kStream = 65536;

  int fd_ = -1;
  int error_ = 0;
  bool read_ = false;
  std::size_t next_ = 0;
  std::size_t count_ = 0;  // datagrams, or octets
  io::UdpReceiver datagrams_;
  std::unique_ptr<std::uint8_t[]> stream_;
};

// The questions of one connected UDP socket that have not left yet.
class Outbox {
 public:
  static constexpr std::size_t kMost = 64;

  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }
  bool full() const { return count_ == kMost; }
  // As sendmsg; not when it is full.
  ssize_t put(const iovec* parts, int count);
  void clear();
  // 0 when all have left; else errno: after EAGAIN the rest stays, after another it is gone.
  int flush(int fd);

 private:
  ByteBuffer octets_;
  std::array<std::uint32_t, kMost> ends_;  // of each in octets_
  std::size_t count_ = 0;
};

}  // namespace lastlight::dns::upstream_sockets
