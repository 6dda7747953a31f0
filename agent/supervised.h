// The worker's side of its supervisor: where its listening sockets come from, and who changes the node's network for
// it. Without a supervisor (a test, a debugger) sockets are opened here and there is no takeover.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "agent/io/file_descriptor.h"
#include "agent/io/listening_socket.h"
#include "agent/io/loop.h"
#include "agent/io/poll.h"

namespace lastlight {

struct Message;

class Supervised {
 public:
  struct Calls {
    std::move_only_function<void(int exit_code)> takeover_done;
    std::move_only_function<void()> abandoned;            // the supervisor is gone
    std::move_only_function<void(bool waiting)> standby;  // a successor serves; or it does no longer
  };

  // `channel` as supervisor_channel() returned it; an empty one: nobody supervises.
  Supervised(io::Loop& loop, io::FileDescriptor channel, Calls calls);

  bool present() const { return static_cast<bool>(channel_); }
  // Asks and waits: the supervisor does nothing but answer. At start, and after a look-up.
  std::expected<io::FileDescriptor, std::string> open(const io::ListeningSocket& wanted);
  void ready();
  // False: it could not even be asked for. Otherwise takeover_done() follows.
  bool takeover(std::span<const std::string> words);

 private:
  void receive();
  void handle(const Message& message);

  io::FileDescriptor channel_;
  Calls calls_;
  std::unique_ptr<io::Poll> poll_;  // goes before the channel it watches
};

// Once, before anything else is opened: the descriptor that the supervisor left us, taken out of the environment.
io::FileDescriptor supervisor_channel();

// Gives up every capability for good (capabilities(7), PR_SET_NO_NEW_PRIVS).
void drop_privileges();

}  // namespace lastlight
