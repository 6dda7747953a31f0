// The system calls of an upstream's sockets, for c-ares to make its own by. They are here for one reason: a datagram
// with a question's ID and name that is no answer (QR=0, or an opcode that was not asked with) would end the question,
// as c-ares takes any for its reply. RFC 5452 s9.1 has it ignored and waited on.
#pragma once

#include <cstdint>

#include <sys/socket.h>
#include <sys/uio.h>

namespace lastlight::dns::upstream_sockets {

// Not blocking; -1 and errno, here and below, as the system has it.
int open(int family, int type, int protocol);
// A datagram, or what a stream has (`from` is null then). `opcodes`: a bit for each that was asked with.
ssize_t receive(int fd, void* into, std::size_t room, int flags, sockaddr* from, socklen_t* from_size,
                std::uint16_t opcodes);
ssize_t send(int fd, const iovec* parts, int count);

}  // namespace lastlight::dns::upstream_sockets
