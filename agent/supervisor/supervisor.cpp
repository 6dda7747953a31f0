#include "agent/supervisor/supervisor.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <optional>

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/supervisor/commands.h"
#include "agent/supervisor/handover.h"
#include "agent/supervisor/held_sockets.h"
#include "agent/supervisor/origin.h"
#include "agent/supervisor/say.h"
#include "agent/supervisor/succession.h"
#include "agent/supervisor/supervision.h"
#include "agent/supervisor/takeover_child.h"
#include "agent/supervisor/worker.h"

namespace lastlight {

namespace {

using Clock = Worker::Clock;
using namespace std::chrono_literals;

constexpr auto kWait = 1s;  // of an older generation, between two questions

class Supervisor {
 public:
  explicit Supervisor(char** arguments) : worker_(arguments, origin_), takeover_(origin_) {}

  int run();

 private:
  void start_worker();
  int time_left() const;  // milliseconds; -1: nothing is due
  void wait();
  void on_signals();
  void reap();
  void on_worker_end(int status);
  void on_channel();
  void on_message(Received received);
  void hand_out(const Message& request);
  void on_standby(bool waits);
  void on_image_wanted();
  void end(int code);

  Origin origin_;
  io::FileDescriptor signals_;
  HeldSockets held_;
  Worker worker_;
  TakeoverChild takeover_;
  Commands commands_{origin_, [this](const Message& ended) { worker_.send(ended); }};
  Succession succession_{held_, [this](bool waits) { on_standby(waits); }, [this] { on_image_wanted(); }};

  bool leaving_ = false;
  std::optional<int> exit_code_;
};

int Supervisor::run() {
  sigset_t handled;
  sigemptyset(&handled);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP})
    sigaddset(&handled, number);
  origin_.block(handled);
  origin_.ask_to_be_spared();
  signals_ = io::FileDescriptor(::signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC));
  succession_.join(handover::directory());
  worker_.start_at(Clock::now());
  while (!exit_code_ || takeover_.running()) {
    if (worker_.due()) start_worker();
    wait();
  }
  return *exit_code_;
}

void Supervisor::start_worker() {
  const bool first = !worker_.ever_served() && held_.all().empty();
  if (first && succession_.adopt()) return worker_.start_at(Clock::now() + kWait);
  if (!worker_.start()) end(1);
}

// The only wake-ups are events; there is a time-out while a worker is to be started again or a command runs.
int Supervisor::time_left() const {
  const auto starts = worker_.starts_at(), ends = commands_.due();
  if (!starts && !ends) return -1;
  const Clock::time_point due =
      std::min(starts.value_or(Clock::time_point::max()), ends.value_or(Clock::time_point::max()));
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now()).count();
  return static_cast<int>(std::max<std::int64_t>(0, left));
}

void Supervisor::wait() {
  const auto others = succession_.waiting();
  std::array<pollfd, 5> waiting{pollfd{signals_.get(), POLLIN, 0}, pollfd{worker_.channel(), POLLIN, 0}};
  std::ranges::copy(others, waiting.begin() + 2);
  ::poll(waiting.data(), waiting.size(), time_left());
  // What a worker said before it ended is heard before its end.
  if (waiting[1].revents != 0) on_channel();
  if (waiting[0].revents != 0) on_signals();
  succession_.on_events(&waiting[2]);
  commands_.on_time(Clock::now());
}

void Supervisor::on_signals() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGCHLD) {
      reap();
      continue;
    }
    leaving_ |= info.ssi_signo != SIGHUP;
    if (worker_.pid() > 0) {
      ::kill(worker_.pid(), static_cast<int>(info.ssi_signo));
    } else if (leaving_) {
      end(0);
    }
  }
}

void Supervisor::reap() {
  int status = 0;
  for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG)) {
    if (pid == worker_.pid()) on_worker_end(status);
    commands_.on_end(pid, status);
    if (const auto code = takeover_.on_end(pid, status)) {
      Message done = Message::with_text(Message::Type::TakeoverDone, {});
      done.value = static_cast<std::uint64_t>(*code);
      worker_.send(done);
    }
  }
}

void Supervisor::on_worker_end(int status) {
  on_channel();
  worker_.ended();
  commands_.forget();
  const int code = exit_code(status);
  if (leaving_ || code == 0 || !worker_.ever_served()) return end(code);
  if (succession_.standby()) return;  // nothing is asked of it; started again when it is
  if (!worker_.try_again(code)) end(1);
}

void Supervisor::on_channel() {
  bool closed = worker_.channel() < 0;
  while (!closed) {
    auto received = receive_message(worker_.channel(), closed);
    if (!received) break;
    on_message(std::move(*received));
  }
  if (closed) worker_.close_channel();  // poll(2) ignores it; its SIGCHLD is on the way
}

void Supervisor::on_message(Received received) {
  const Message& message = received.message;
  switch (message.type) {
    case Message::Type::OpenSocket:
      return hand_out(message);
    case Message::Type::OpenImage:
      return worker_.send(Message::with_text(Message::Type::Image, {}), succession_.take_image().get());
    case Message::Type::Image:
      return succession_.give_image(received.descriptor);
    case Message::Type::Ready:
      worker_.serves();
      return succession_.become_owner();
    case Message::Type::Takeover:
      return takeover_.ask(message.words());
    case Message::Type::CommandsDirectory:
      if (!worker_.ever_served()) commands_.set_directory(std::string(message.text_view()));
      return;
    case Message::Type::Command:
      return commands_.start(message, std::move(received.descriptor), Clock::now());
    case Message::Type::Socket:
    case Message::Type::Failed:
    case Message::Type::TakeoverDone:
    case Message::Type::CommandEnded:
    case Message::Type::Standby:
    case Message::Type::Resume:
    case Message::Type::Adopt:
    case Message::Type::Adopted:
    case Message::Type::WriteImage:
      return;  // not a worker's to say
  }
}

void Supervisor::hand_out(const Message& request) {
  const io::ListeningSocket wanted = request.socket();
  if (const auto held = held_.find_or_open(wanted)) {
    worker_.send(Message::about(Message::Type::Socket, wanted), *held);
  } else {
    worker_.send(Message::with_text(Message::Type::Failed, held.error()));
  }
}

void Supervisor::on_standby(bool waits) {
  if (!waits && worker_.pid() == 0) return worker_.start_at(Clock::now());
  worker_.send(Message::with_text(waits ? Message::Type::Standby : Message::Type::Resume, {}));
}

void Supervisor::on_image_wanted() {
  if (worker_.channel() < 0) return succession_.give_image({});
  worker_.send(Message::with_text(Message::Type::WriteImage, {}));
}

// Closing the sockets is what ends the interception; the child only tidies up.
void Supervisor::end(int code) {
  exit_code_ = code;
  worker_.do_not_start();
  succession_.end();
  held_.close_all();
  commands_.kill_all();
  if (succession_.owns()) takeover_.undo();
}

}  // namespace

int supervise(char** arguments) {
  return Supervisor(arguments).run();
}

}  // namespace lastlight
