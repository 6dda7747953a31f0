// The listening sockets that a supervisor holds for its worker: opened when first asked for, or taken over from the
// supervisor before it. At most kMax.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <vector>

#include "agent/io/file_descriptor.h"
#include "agent/io/listening_socket.h"

namespace lastlight {

class HeldSockets {
 public:
  static constexpr std::size_t kMax = 64;
  struct Held {
    io::ListeningSocket what;
    io::FileDescriptor fd;
  };

  // Of the same kind and address, whatever buffer it has: a predecessor's configuration may have asked for another.
  std::expected<int, std::string> find_or_open(const io::ListeningSocket& wanted);
  void adopt(const io::ListeningSocket& what, io::FileDescriptor fd);  // closed beyond kMax
  void close_all() { held_.clear(); }
  const std::vector<Held>& all() const { return held_; }

 private:
  std::vector<Held> held_;
};

}  // namespace lastlight
