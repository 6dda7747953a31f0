// Where listening sockets come from: the kernel, or whoever holds them for us across restarts.
#pragma once

#include <expected>
#include <functional>
#include <string>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/io/file_descriptor.h"

namespace lastlight::io {

struct ListeningSocket {
  enum class Kind : std::uint8_t { Udp, Tcp };
  Kind kind = Kind::Udp;
  Endpoint where;
  Bytes receive_buffer{0};  // Udp; the kernel may grant less
  bool operator==(const ListeningSocket&) const = default;
};

// On failure why not, with what and where.
using SocketSource = std::function<std::expected<FileDescriptor, std::string>(const ListeningSocket&)>;

// Bound, and listening if it is TCP. Non-blocking. IP_FREEBIND: the address may not be on this node yet.
std::expected<FileDescriptor, std::string> open_listening_socket(const ListeningSocket& wanted);

// Which interface has the address; empty: none, or a wildcard.
std::string interface_of(const IpAddress& address);

// What `fd` is bound to, with the port the kernel chose if 0 was asked for.
Endpoint local_endpoint(int fd, const Endpoint& otherwise);

}  // namespace lastlight::io
