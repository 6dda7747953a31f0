// DNS messages out of a TCP stream: two octets of length, then the message (RFC 1035 s4.2.2, RFC 7766 s8). Pure. Holds
// at most one unfinished message (65,537 bytes); whole messages in the input are handed on without being copied.
#pragma once

#include <functional>

#include "agent/base/bytes.h"

namespace lastlight::dns {

class TcpFraming {
 public:
  // Calls `message` for each whole message, in order. False when the stream cannot be DNS (a message shorter than a
  // header): nothing after that can be trusted and the connection must go.
  bool feed(ByteView bytes, std::move_only_function<void(ByteView)>& message);
  std::size_t held() const { return held_.size(); }

 private:
  ByteBuffer held_;
};

}  // namespace lastlight::dns
