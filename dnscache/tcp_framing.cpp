#include "dnscache/tcp_framing.h"

#include <algorithm>

namespace lastlight::dns {

namespace {

constexpr std::size_t kPrefix = 2;
constexpr std::size_t kKept = 1024;
constexpr std::size_t kHeader = 12;  // RFC 1035 s4.1.1

std::size_t length_of(ByteView frame) {
  return static_cast<std::size_t>(frame[0] << 8 | frame[1]);
}

}  // namespace

bool TcpFraming::feed(ByteView bytes, std::move_only_function<void(ByteView)>& message) {
  while (!bytes.empty()) {
    if (held_.empty() && bytes.size() >= kPrefix) {
      const std::size_t length = length_of(bytes);
      if (length < kHeader) return false;
      if (bytes.size() >= kPrefix + length) {
        message(bytes.subspan(kPrefix, length));
        bytes = bytes.subspan(kPrefix + length);
        continue;
      }
    }
    const std::size_t wanted = held_.size() < kPrefix ? kPrefix : kPrefix + length_of(held_);
    const std::size_t taken = std::min(wanted - held_.size(), bytes.size());
    held_.insert(held_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    bytes = bytes.subspan(taken);
    if (held_.size() < kPrefix) continue;
    const std::size_t length = length_of(held_);
    if (length < kHeader) return false;
    if (held_.size() == kPrefix + length) {
      message(ByteView(held_).subspan(kPrefix));
      held_.clear();
      if (held_.capacity() > kKept) held_ = {};  // a long message is no reason to hold its room for ever
    }
  }
  return true;
}

}  // namespace lastlight::dns
