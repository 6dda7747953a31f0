// What the supervisor and its worker say to each other: one message, of fixed size, per packet of a Unix socket pair.
// Descriptors travel beside it (SCM_RIGHTS). The same message is spoken between an old supervisor and its successor.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/io/file_descriptor.h"
#include "agent/io/listening_socket.h"

namespace lastlight {

// In the worker's environment: its end of the socket pair.
inline constexpr const char* kChannelVariable = "LASTLIGHT_SUPERVISOR";

struct Message {
  enum class Type : std::uint32_t {
    OpenSocket,         // worker: this listening socket, please
    Socket,             // supervisor: here it is
    Failed,             // supervisor: it cannot be had; text says why
    Ready,              // worker: it serves
    Takeover,           // worker: run the takeover child with these words
    TakeoverDone,       // supervisor: it ended; `value` is its exit code
    CommandsDirectory,  // worker, before it serves: where hook commands lie; nothing: there are none
    Command,            // worker: start one (commands.h has its words), as number `value`; its standard input beside it
    CommandEnded,       // supervisor: number `value` did; `status` as waitpid(2) has it; text: what went wrong with it
    Standby,            // supervisor: a successor serves: read nothing new, answer what is in flight, wait; said to a
                        // predecessor as well, whose successor's successor serves then
    Resume,             // supervisor: the successor is gone: serve again
    Adopt,    // successor to supervisor: I am generation `value`, and want your sockets; many Socket follow, or Failed
    Adopted,  // supervisor to successor: that was all
    WriteImage,  // supervisor: a successor wants the cache; Image follows
    Image,       // worker, and supervisor to successor: the cache's image, or no descriptor, if there is none
    OpenImage,   // worker: the predecessor's image, please; Image follows
  };
  static constexpr std::size_t kText = 1000;

  Type type = Type::Ready;
  io::ListeningSocket::Kind kind = io::ListeningSocket::Kind::Udp;
  std::uint8_t v6 = 0;
  std::uint16_t port = 0;
  std::array<std::uint8_t, 16> address{};
  std::uint64_t value = 0;
  std::int32_t status = 0;
  std::uint32_t text_size = 0;
  std::array<char, kText> text{};

  static Message about(Type type, const io::ListeningSocket& socket);
  static Message with_text(Type type, std::string_view text);  // cut at kText
  static std::optional<Message> with_words(Type type,
                                           std::span<const std::string> words);  // nothing if they are too long

  io::ListeningSocket socket() const;
  std::string_view text_view() const;
  std::vector<std::string> words() const;
};

// False: the other side is gone, or does not read.
bool send_message(int socket, const Message& message, int descriptor = -1);

struct Received {
  Message message;
  io::FileDescriptor descriptor;
};
// Nothing when none is waiting; `closed` is set when none will come.
std::optional<Received> receive_message(int socket, bool& closed);

}  // namespace lastlight
