// Tells that an address or a link of this network namespace changed, or may have: rtnetlink(7) notifications, of which
// only the fact is used. Needs no privilege. Never says what changed: whoever is told looks for itself.
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "agent/io/file_descriptor.h"
#include "agent/io/loop.h"
#include "agent/io/poll.h"

namespace lastlight::io {

class AddressEvents {
 public:
  // `changed`: once for all that is waiting in a turn of the loop.
  AddressEvents(Loop& loop, std::move_only_function<void()> changed) : loop_(loop), changed_(std::move(changed)) {}
  std::expected<void, std::string> start();

 private:
  void drain();

  Loop& loop_;
  std::move_only_function<void()> changed_;
  FileDescriptor socket_;
  std::unique_ptr<Poll> poll_;  // goes before the socket it watches
};

}  // namespace lastlight::io
