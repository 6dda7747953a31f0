// The worker's side of its supervisor: where its listening sockets and its first cache come from, who changes the
// node's network and who runs commands for it. Without a supervisor (a test, a debugger) sockets are opened here and
// there is nothing of the rest.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "agent/io/file_descriptor.h"
#include "agent/io/listening_socket.h"
#include "agent/io/loop.h"
#include "agent/io/poll.h"

namespace lastlight {

struct Message;
struct Received;

class Supervised {
 public:
  struct Calls {
    std::move_only_function<void(int exit_code)> takeover_done;
    // A command ended: `status` as waitpid(2) has it; `error`: what went wrong with it, if anything.
    std::move_only_function<void(std::uint64_t number, int status, std::string_view error)> command_ended;
    std::move_only_function<void()> abandoned;            // the supervisor is gone
    std::move_only_function<void(bool waiting)> standby;  // a successor serves; or it does no longer
    std::move_only_function<void()> image_wanted;         // a successor waits for give_image()
  };

  // `channel` as supervisor_channel() returned it; an empty one: nobody supervises.
  Supervised(io::Loop& loop, io::FileDescriptor channel, Calls calls);

  bool present() const { return static_cast<bool>(channel_); }
  // Asks and waits: the supervisor does nothing but answer. At start, and after a look-up.
  std::expected<io::FileDescriptor, std::string> open(const io::ListeningSocket& wanted);
  // The image of the predecessor's cache; empty: there is none. Once, at start.
  io::FileDescriptor image();
  void give_image(const io::FileDescriptor& image);  // an empty one: there will be none
  void ready();
  // False: it could not even be asked for. Otherwise takeover_done() follows.
  bool takeover(std::span<const std::string> words);
  // Before ready(): where hook commands lie; empty: nothing can be run.
  void name_commands(std::string_view directory);
  // `words` as agent/supervisor/commands.h has them; `input` is what it reads. Nothing: command_ended() follows; else
  // why not.
  std::optional<std::string> run_command(std::uint64_t number, std::span<const std::string> words,
                                         std::string_view input);

 private:
  // And waits for the answer: a socket, an image, or why not.
  std::expected<Received, std::string> ask(const Message& request);
  void receive();
  void handle(const Message& message);

  io::FileDescriptor channel_;
  Calls calls_;
  std::unique_ptr<io::Poll> poll_;  // goes before the channel it watches
};

// Once, before anything else is opened: the descriptor that the supervisor left us, taken out of the environment.
io::FileDescriptor supervisor_channel();

}  // namespace lastlight
