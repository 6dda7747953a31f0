#include "agent/supervisor.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/handover.h"
#include "agent/programs.h"
#include "agent/supervision.h"

namespace lastlight {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t kMaxSockets = 64;
constexpr int kMaxShortLives = 5;
constexpr auto kShortLife = 1s;
constexpr auto kWait = 1s;          // of an older generation, between two questions
constexpr int kPatience = 2000;     // ms, for a predecessor that does nothing but answer
constexpr auto kFirstDelay = 50ms;  // after the second short life in a row; doubles

[[gnu::format(printf, 1, 2)]] void say(const char* format, ...) {
  std::array<char, 512> line;
  va_list words;
  va_start(words, format);
  const int size = std::vsnprintf(line.data(), line.size(), format, words);
  va_end(words);
  if (size <= 0) return;
  const auto length = std::min(static_cast<std::size_t>(size), line.size() - 1);
  static_cast<void>(!::write(STDERR_FILENO, line.data(), length));
}

class Supervisor {
 public:
  explicit Supervisor(char** arguments) : arguments_(arguments) {}

  int run();

 private:
  struct Held {
    io::ListeningSocket what;
    io::FileDescriptor fd;
  };

  void start_worker();
  [[noreturn]] void become_worker(const io::FileDescriptor& channel);
  void wait();
  void on_signals();
  void reap();
  void on_worker_end(int status);
  void on_channel();
  void on_message(const Message& message);
  void hand_out(const Message& request);
  void start_takeover(std::vector<std::string> words);
  void on_takeover_end(int status);
  void end(int code);

  // The handover: towards the one before us, and the one after us.
  void adopt();
  bool receive_sockets();
  void on_predecessor();
  void on_listener();
  void on_successor();
  void give_sockets(std::uint64_t generation);
  void become_owner();

  char** const arguments_;
  sigset_t old_mask_{};
  io::FileDescriptor signals_;
  io::FileDescriptor channel_;  // to the worker
  std::vector<Held> held_;

  pid_t worker_ = 0;
  Clock::time_point started_;
  bool ready_ = false;       // this worker
  bool ever_ready_ = false;  // some worker
  int short_lives_ = 0;
  std::optional<Clock::time_point> restart_at_;

  pid_t takeover_ = 0;
  std::vector<std::string> next_takeover_;  // asked for while one runs; the latest counts
  std::vector<std::string> taken_over_;     // the plan that is in place: what must be undone at the end

  std::string directory_;
  std::uint64_t generation_ = 0;
  bool waits_ = false;  // for an owner of a later generation to end
  io::FileDescriptor predecessor_;
  io::FileDescriptor listener_;
  io::FileDescriptor successor_;
  bool standby_ = false;  // the successor serves

  bool leaving_ = false;
  std::optional<int> exit_code_;
};

int Supervisor::run() {
  sigset_t handled;
  sigemptyset(&handled);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP})
    sigaddset(&handled, number);
  sigprocmask(SIG_BLOCK, &handled, &old_mask_);
  signals_ = io::FileDescriptor(::signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC));
  directory_ = handover::directory();
  if (!directory_.empty()) generation_ = handover::generation(directory_);
  restart_at_ = Clock::now();
  while (!exit_code_ || takeover_ != 0) {
    if (restart_at_ && Clock::now() >= *restart_at_) {
      if (!ever_ready_ && held_.empty()) adopt();
      if (restart_at_ && Clock::now() >= *restart_at_) start_worker();
    }
    wait();
  }
  return *exit_code_;
}

void Supervisor::start_worker() {
  restart_at_.reset();
  std::array<int, 2> pair{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data()) != 0) return end(1);
  channel_ = io::FileDescriptor(pair[0]);
  const io::FileDescriptor theirs(pair[1]);
  const pid_t parent = ::getpid();
  started_ = Clock::now();
  ready_ = false;
  worker_ = ::fork();
  if (worker_ == 0) {
    // Dies with its supervisor: sockets nobody would hold must close, so that DNS is kube-proxy's again.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != parent) ::_exit(1);
    become_worker(theirs);
  }
  if (worker_ < 0) {
    say("error supervisor.fork_failed error=\"%s\"\n", std::strerror(errno));
    end(1);
  }
}

// Every other descriptor of ours closes with the exec.
void Supervisor::become_worker(const io::FileDescriptor& channel) {
  sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
  ::fcntl(channel.get(), F_SETFD, 0);
  ::setenv(kChannelVariable, std::to_string(channel.get()).c_str(), 1);
  const std::string program = program_beside("agent");
  ::execv(program.c_str(), arguments_);
  say("error supervisor.worker_not_run program=%s error=\"%s\"\n", program.c_str(), std::strerror(errno));
  ::_exit(127);
}

// The only wake-ups are events; the time-out exists while a worker is to be started again.
void Supervisor::wait() {
  std::array<pollfd, 5> waiting{pollfd{signals_.get(), POLLIN, 0}, pollfd{channel_.get(), POLLIN, 0},
                                pollfd{predecessor_.get(), POLLIN, 0}, pollfd{listener_.get(), POLLIN, 0},
                                pollfd{successor_.get(), POLLIN, 0}};
  int timeout = -1;
  if (restart_at_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*restart_at_ - Clock::now()).count();
    timeout = static_cast<int>(std::max<std::int64_t>(0, left));
  }
  ::poll(waiting.data(), waiting.size(), timeout);
  // What a worker said before it ended is heard before its end.
  if (waiting[1].revents != 0) on_channel();
  if (waiting[0].revents != 0) on_signals();
  if (waiting[2].revents != 0) on_predecessor();
  if (waiting[3].revents != 0) on_listener();
  if (waiting[4].revents != 0) on_successor();
}

void Supervisor::on_signals() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGCHLD) {
      reap();
      continue;
    }
    leaving_ |= info.ssi_signo != SIGHUP;
    if (worker_ > 0) {
      ::kill(worker_, static_cast<int>(info.ssi_signo));
    } else if (leaving_) {
      end(0);
    }
  }
}

void Supervisor::reap() {
  int status = 0;
  for (pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0; pid = ::waitpid(-1, &status, WNOHANG)) {
    if (pid == worker_) on_worker_end(status);
    if (pid == takeover_) on_takeover_end(status);
  }
}

void Supervisor::on_worker_end(int status) {
  on_channel();
  worker_ = 0;
  channel_ = {};
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (leaving_ || code == 0 || !ever_ready_) {
    end(code);
    return;
  }
  if (standby_) return;  // nothing is asked of it; started again when it is
  short_lives_ = ready_ && Clock::now() - started_ >= kShortLife ? 0 : short_lives_ + 1;
  if (short_lives_ >= kMaxShortLives) {
    say("error supervisor.gave_up exit_code=%d workers=%d\n", code, short_lives_);
    end(1);
    return;
  }
  const auto delay = short_lives_ < 2 ? 0ms : kFirstDelay * (1 << (short_lives_ - 2));
  say("error supervisor.worker_ended exit_code=%d restart_in_ms=%d\n", code, static_cast<int>(delay.count()));
  restart_at_ = Clock::now() + delay;
}

void Supervisor::on_channel() {
  bool closed = !channel_;
  while (!closed) {
    const auto received = receive_message(channel_.get(), closed);
    if (!received) break;
    on_message(received->message);
  }
  if (closed) channel_ = {};  // poll(2) ignores it; its SIGCHLD is on the way
}

void Supervisor::on_message(const Message& message) {
  switch (message.type) {
    case Message::Type::OpenSocket:
      return hand_out(message);
    case Message::Type::Ready:
      ready_ = ever_ready_ = true;
      return become_owner();
    case Message::Type::Takeover:
      return start_takeover(message.words());
    case Message::Type::Socket:
    case Message::Type::Failed:
    case Message::Type::TakeoverDone:
    case Message::Type::Standby:
    case Message::Type::Resume:
    case Message::Type::Adopt:
    case Message::Type::Adopted:
      return;  // not a worker's to say
  }
}

void Supervisor::hand_out(const Message& request) {
  const io::ListeningSocket wanted = request.socket();
  // Whatever buffer it has: a predecessor's configuration may have asked for another.
  auto found = std::ranges::find_if(
      held_, [&](const Held& each) { return each.what.kind == wanted.kind && each.what.where == wanted.where; });
  if (found == held_.end()) {
    if (held_.size() >= kMaxSockets) {
      send_message(channel_.get(), Message::with_text(Message::Type::Failed, "too many listening sockets"));
      return;
    }
    auto opened = io::open_listening_socket(wanted);
    if (!opened) {
      send_message(channel_.get(), Message::with_text(Message::Type::Failed, opened.error()));
      return;
    }
    found = held_.insert(held_.end(), {wanted, std::move(*opened)});
  }
  send_message(channel_.get(), Message::about(Message::Type::Socket, wanted), found->fd.get());
}

void Supervisor::start_takeover(std::vector<std::string> words) {
  if (takeover_ != 0) {
    next_takeover_ = std::move(words);
    return;
  }
  const std::string program = program_beside("takeover");
  std::vector<char*> arguments{const_cast<char*>("takeover")};
  for (std::string& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  takeover_ = ::fork();
  if (takeover_ == 0) {
    sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
    ::execv(program.c_str(), arguments.data());
    say("error takeover.not_run program=%s error=\"%s\"\n", program.c_str(), std::strerror(errno));
    ::_exit(127);
  }
  if (takeover_ < 0) {
    takeover_ = 0;
    return;
  }
  const std::string verb = words.empty() ? "" : words.front();
  if (verb == "up" || verb == "repair") taken_over_ = std::move(words);
  if (verb == "down" || verb == "remove") taken_over_.clear();
}

void Supervisor::on_takeover_end(int status) {
  takeover_ = 0;
  Message done = Message::with_text(Message::Type::TakeoverDone, {});
  done.value = static_cast<std::uint64_t>(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  if (channel_) send_message(channel_.get(), done);
  if (!next_takeover_.empty()) start_takeover(std::exchange(next_takeover_, {}));
}

// Closing the sockets is what ends the interception; the child only tidies up.
void Supervisor::end(int code) {
  exit_code_ = code;
  restart_at_.reset();
  held_.clear();
  if (taken_over_.empty() || standby_) return;  // the owner's alone
  taken_over_.front() = "down";
  start_takeover(std::move(taken_over_));
}

// From the one before us: its sockets, while it goes on reading them. An older one of us waits until the owner is gone.
void Supervisor::adopt() {
  predecessor_ = handover::connect(directory_);
  if (!predecessor_) return;
  Message request = Message::with_text(Message::Type::Adopt, {});
  request.value = generation_;
  if (send_message(predecessor_.get(), request) && receive_sockets()) {
    say("info handover.adopted sockets=%zu generation=%llu\n", held_.size(),
        static_cast<unsigned long long>(generation_));
    return;
  }
  predecessor_ = {};
  held_.clear();
  if (waits_) restart_at_ = Clock::now() + kWait;
}

bool Supervisor::receive_sockets() {
  waits_ = false;
  for (;;) {
    pollfd waiting{predecessor_.get(), POLLIN, 0};
    if (::poll(&waiting, 1, kPatience) <= 0) return false;
    bool closed = false;
    auto received = receive_message(predecessor_.get(), closed);
    if (closed) return false;
    if (!received) continue;
    if (received->message.type == Message::Type::Adopted) return !held_.empty();
    if (received->message.type == Message::Type::Failed) {
      waits_ = true;
      say("info handover.waiting generation=%llu\n", static_cast<unsigned long long>(generation_));
      return false;
    }
    if (received->message.type == Message::Type::Socket && received->descriptor && held_.size() < kMaxSockets)
      held_.push_back({received->message.socket(), std::move(received->descriptor)});
  }
}

// Says nothing after Adopted; when it ends, it ends.
void Supervisor::on_predecessor() {
  bool closed = false;
  static_cast<void>(receive_message(predecessor_.get(), closed));
  if (closed) predecessor_ = {};
}

void Supervisor::on_listener() {
  io::FileDescriptor peer = handover::accept(listener_.get());
  if (peer && !successor_) successor_ = std::move(peer);
}

void Supervisor::give_sockets(std::uint64_t generation) {
  if (generation <= generation_) {
    send_message(successor_.get(), Message::with_text(Message::Type::Failed, "a later generation serves"));
    successor_ = {};
    return;
  }
  for (const Held& each : held_)
    send_message(successor_.get(), Message::about(Message::Type::Socket, each.what), each.fd.get());
  send_message(successor_.get(), Message::with_text(Message::Type::Adopted, {}));
}

void Supervisor::on_successor() {
  bool closed = false;
  while (const auto received = receive_message(successor_.get(), closed)) {
    if (received->message.type == Message::Type::Adopt) {
      give_sockets(received->message.value);
      if (!successor_) return;
    } else if (received->message.type == Message::Type::Ready && !standby_) {
      standby_ = true;
      listener_ = {};  // the successor listens now
      if (channel_) send_message(channel_.get(), Message::with_text(Message::Type::Standby, {}));
      say("info handover.standby\n");
    }
  }
  if (!closed) return;
  successor_ = {};
  if (!standby_ || exit_code_) return;
  standby_ = false;
  say("warn handover.resumed reason=\"the successor is gone\"\n");
  if (channel_) {
    send_message(channel_.get(), Message::with_text(Message::Type::Resume, {}));
  } else if (worker_ == 0) {
    restart_at_ = Clock::now();
  }
  listener_ = handover::listen(directory_);
}

// Our worker serves: whoever was before us may stop, and whoever comes next asks us.
void Supervisor::become_owner() {
  if (predecessor_) send_message(predecessor_.get(), Message::with_text(Message::Type::Ready, {}));
  if (!listener_ && !standby_ && !directory_.empty()) listener_ = handover::listen(directory_);
}

}  // namespace

int supervise(char** arguments) {
  return Supervisor(arguments).run();
}

}  // namespace lastlight
