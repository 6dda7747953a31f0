#include "agent/supervisor/succession.h"

#include <utility>

#include "agent/supervisor/handover.h"
#include "agent/supervisor/say.h"
#include "agent/supervisor/supervision.h"

namespace lastlight {

namespace {

constexpr int kPatience = 2000;      // ms, for a predecessor that does nothing but answer
constexpr int kImagePatience = 500;  // ms, for its worker, which serves meanwhile

}  // namespace

void Succession::join(std::string directory) {
  directory_ = std::move(directory);
  if (!directory_.empty()) generation_ = handover::generation(directory_);
}

bool Succession::adopt() {
  waits_ = false;
  predecessor_ = handover::connect(directory_);
  if (!predecessor_) return false;
  Message request = Message::with_text(Message::Type::Adopt, {});
  request.value = generation_;
  // Turned away unheard, the request may not be sent: that is read as the end of the conversation.
  static_cast<void>(send_message(predecessor_.get(), request));
  if (receive_sockets()) {
    receive_image();
    say("info handover.adopted sockets=%zu generation=%llu image=%s\n", held_.all().size(),
        static_cast<unsigned long long>(generation_), image_ ? "yes" : "no");
    return false;
  }
  predecessor_ = {};
  held_.close_all();
  return waits_;
}

bool Succession::receive_sockets() {
  for (;;) {
    pollfd waiting{predecessor_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kPatience) <= 0) return false;
    bool closed = false;
    auto received = receive_message(predecessor_.get(), closed);
    if (!received && !closed) continue;
    if (received && received->message.type == Message::Type::Adopted) return !held_.all().empty();
    if (closed || received->message.type == Message::Type::Failed) {
      waits_ = true;
      say("info handover.waiting generation=%llu\n", static_cast<unsigned long long>(generation_));
      return false;
    }
    if (received->message.type == Message::Type::Socket && received->descriptor)
      held_.adopt(received->message.socket(), std::move(received->descriptor));
  }
}

// Whatever comes later is closed unread: the start is cold then.
void Succession::receive_image() {
  pollfd waiting{predecessor_.get(), POLLIN, 0};
  if (::poll(&waiting, 1, kImagePatience) <= 0) return;
  bool closed = false;
  auto received = receive_message(predecessor_.get(), closed);
  if (received && received->message.type == Message::Type::Image) image_ = std::move(received->descriptor);
  if (closed) predecessor_ = {};
}

void Succession::give_image(const io::FileDescriptor& image) {
  if (successor_) send_message(successor_.get(), Message::with_text(Message::Type::Image, {}), image.get());
}

std::array<pollfd, 3> Succession::waiting() const {
  return {pollfd{predecessor_.get(), POLLIN, 0}, pollfd{listener_.get(), POLLIN, 0},
          pollfd{successor_.get(), POLLIN, 0}};
}

void Succession::on_events(const pollfd* polled) {
  if (polled[0].revents != 0) on_predecessor();
  if (polled[1].revents != 0) on_listener();
  if (polled[2].revents != 0) on_successor();
}

// Says nothing after its image; when it ends, it ends.
void Succession::on_predecessor() {
  bool closed = false;
  static_cast<void>(receive_message(predecessor_.get(), closed));
  if (closed) predecessor_ = {};
}

// One successor at a time: whoever comes meanwhile is turned away, and asks again.
void Succession::on_listener() {
  io::FileDescriptor peer = handover::accept(listener_.get());
  if (peer && !successor_) successor_ = std::move(peer);
}

void Succession::give_sockets(std::uint64_t generation) {
  if (generation <= generation_) {
    send_message(successor_.get(), Message::with_text(Message::Type::Failed, "a later generation serves"));
    successor_ = {};
    return;
  }
  for (const HeldSockets::Held& each : held_.all())
    send_message(successor_.get(), Message::about(Message::Type::Socket, each.what), each.fd.get());
  send_message(successor_.get(), Message::with_text(Message::Type::Adopted, {}));
  image_wanted_();
}

void Succession::on_successor() {
  bool closed = false;
  while (const auto received = receive_message(successor_.get(), closed)) {
    if (received->message.type == Message::Type::Adopt) {
      give_sockets(received->message.value);
      if (!successor_) return;
    } else if (received->message.type == Message::Type::Standby) {
      superseded_ = true;
    } else if (received->message.type == Message::Type::Ready) {
      superseded_ = false;
      if (!standby_) stand_by();
    }
  }
  if (!closed) return;
  successor_ = {};
  if (!standby_ || superseded_ || ended_) return;
  standby_ = false;
  say("warn handover.resumed reason=\"the successor is gone\"\n");
  standby_changed_(false);
  if (predecessor_) send_message(predecessor_.get(), Message::with_text(Message::Type::Ready, {}));
  listener_ = handover::listen(directory_);
}

void Succession::stand_by() {
  standby_ = true;
  listener_ = {};  // the successor listens now
  if (predecessor_) send_message(predecessor_.get(), Message::with_text(Message::Type::Standby, {}));
  standby_changed_(true);
  say("info handover.standby\n");
}

void Succession::become_owner() {
  serves_ = true;
  if (predecessor_) send_message(predecessor_.get(), Message::with_text(Message::Type::Ready, {}));
  if (!listener_ && !standby_ && !directory_.empty()) listener_ = handover::listen(directory_);
}

}  // namespace lastlight
