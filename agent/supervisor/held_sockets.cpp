#include "agent/supervisor/held_sockets.h"

#include <algorithm>
#include <utility>

namespace lastlight {

std::expected<int, std::string> HeldSockets::find_or_open(const io::ListeningSocket& wanted) {
  const auto found = std::ranges::find_if(
      held_, [&](const Held& each) { return each.what.kind == wanted.kind && each.what.where == wanted.where; });
  if (found != held_.end()) return found->fd.get();
  if (held_.size() >= kMax) return std::unexpected("too many listening sockets");
  auto opened = io::open_listening_socket(wanted);
  if (!opened) return std::unexpected(opened.error());
  return held_.emplace_back(wanted, std::move(*opened)).fd.get();
}

void HeldSockets::adopt(const io::ListeningSocket& what, io::FileDescriptor fd) {
  if (held_.size() < kMax) held_.push_back({what, std::move(fd)});
}

}  // namespace lastlight
