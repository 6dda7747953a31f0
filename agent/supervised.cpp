#include "agent/supervised.h"

#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "agent/io/memory_file.h"
#include "agent/supervisor/supervision.h"

namespace lastlight {

namespace {

constexpr int kPatience = 5000;  // ms; it answers in microseconds unless somebody stopped it

}  // namespace

Supervised::Supervised(io::Loop& loop, io::FileDescriptor channel, Calls calls)
    : channel_(std::move(channel)), calls_(std::move(calls)) {
  if (!channel_) return;
  poll_ = std::make_unique<io::Poll>(loop, channel_.get(), [this](io::Poll::Ready) { receive(); });
  poll_->watch(true, false);
}

std::expected<io::FileDescriptor, std::string> Supervised::open(const io::ListeningSocket& wanted) {
  if (!channel_) return io::open_listening_socket(wanted);
  auto received = ask(Message::about(Message::Type::OpenSocket, wanted));
  if (!received) return std::unexpected(received.error());
  if (received->message.type != Message::Type::Socket)
    return std::unexpected(std::string(received->message.text_view()));
  return std::move(received->descriptor);
}

io::FileDescriptor Supervised::image() {
  if (!channel_) return {};
  auto received = ask(Message::with_text(Message::Type::OpenImage, {}));
  return received ? std::move(received->descriptor) : io::FileDescriptor();
}

void Supervised::give_image(const io::FileDescriptor& image) {
  if (channel_) send_message(channel_.get(), Message::with_text(Message::Type::Image, {}), image.get());
}

std::expected<Received, std::string> Supervised::ask(const Message& request) {
  if (!send_message(channel_.get(), request)) return std::unexpected("the supervisor does not listen");
  for (;;) {
    pollfd waiting{channel_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kPatience) <= 0) return std::unexpected("the supervisor does not answer");
    bool closed = false;
    auto received = receive_message(channel_.get(), closed);
    if (closed) return std::unexpected("the supervisor is gone");
    if (!received) continue;
    using enum Message::Type;
    const Message::Type type = received->message.type;
    if (type == Socket || type == Failed || type == Image) return std::move(*received);
    handle(received->message);
  }
}

void Supervised::ready() {
  if (channel_) send_message(channel_.get(), Message::with_text(Message::Type::Ready, {}));
}

bool Supervised::takeover(std::span<const std::string> words) {
  const auto message = Message::with_words(Message::Type::Takeover, words);
  return channel_ && message && send_message(channel_.get(), *message);
}

void Supervised::name_commands(std::string_view directory) {
  if (channel_) send_message(channel_.get(), Message::with_text(Message::Type::CommandsDirectory, directory));
}

std::optional<std::string> Supervised::run_command(std::uint64_t number, std::span<const std::string> words,
                                                   std::string_view input) {
  if (!channel_) return "there is no supervisor to start it";
  auto message = Message::with_words(Message::Type::Command, words);
  if (!message) return "its environment is too long";
  const auto file = io::memory_file("event", input);
  if (!file) return file.error();
  message->value = number;
  if (!send_message(channel_.get(), *message, file->get())) return "the supervisor does not listen";
  return std::nullopt;
}

void Supervised::receive() {
  bool closed = false;
  while (const auto received = receive_message(channel_.get(), closed))
    handle(received->message);
  if (!closed) return;
  poll_->watch(false, false);
  calls_.abandoned();
}

void Supervised::handle(const Message& message) {
  if (message.type == Message::Type::TakeoverDone) calls_.takeover_done(static_cast<int>(message.value));
  if (message.type == Message::Type::CommandEnded)
    calls_.command_ended(message.value, message.status, message.text_view());
  if (message.type == Message::Type::Standby) calls_.standby(true);
  if (message.type == Message::Type::Resume) calls_.standby(false);
  if (message.type == Message::Type::WriteImage) calls_.image_wanted();
}

io::FileDescriptor supervisor_channel() {
  const char* text = std::getenv(kChannelVariable);
  if (text == nullptr) return {};
  const std::string_view digits(text);
  int number = -1;
  std::from_chars(digits.begin(), digits.end(), number);
  ::unsetenv(kChannelVariable);
  if (number <= STDERR_FILENO || ::fcntl(number, F_SETFD, FD_CLOEXEC) != 0) return {};
  return io::FileDescriptor(number);
}

}  // namespace lastlight
