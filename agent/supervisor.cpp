#include "agent/supervisor.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstdio>
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

#include "agent/supervision.h"

namespace lastlight {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t kMaxSockets = 64;
constexpr int kMaxShortLives = 5;
constexpr auto kShortLife = 1s;
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

// The program that changes the node's network stands beside this one.
std::string takeover_program() {
  std::array<char, 4096> path;
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  return std::string(path.data(), size > 0 ? static_cast<std::size_t>(size) : 0) + "-takeover";
}

class Supervisor {
 public:
  Supervision run();

 private:
  struct Held {
    io::ListeningSocket what;
    io::FileDescriptor fd;
  };

  bool start_worker();  // true: this is the worker
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

  sigset_t old_mask_{};
  io::FileDescriptor signals_;
  io::FileDescriptor channel_;          // ours
  io::FileDescriptor workers_channel_;  // in the worker alone
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

  bool leaving_ = false;
  std::optional<int> exit_code_;
};

Supervision Supervisor::run() {
  sigset_t handled;
  sigemptyset(&handled);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGHUP})
    sigaddset(&handled, number);
  sigprocmask(SIG_BLOCK, &handled, &old_mask_);
  signals_ = io::FileDescriptor(::signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC));
  restart_at_ = Clock::now();
  while (!exit_code_ || takeover_ != 0) {
    if (restart_at_ && Clock::now() >= *restart_at_ && start_worker()) return {true, std::move(workers_channel_), 0};
    wait();
  }
  return {false, {}, *exit_code_};
}

bool Supervisor::start_worker() {
  restart_at_.reset();
  std::array<int, 2> pair{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data()) != 0) {
    end(1);
    return false;
  }
  io::FileDescriptor ours(pair[0]);
  io::FileDescriptor theirs(pair[1]);
  const pid_t parent = ::getpid();
  started_ = Clock::now();
  ready_ = false;
  worker_ = ::fork();
  if (worker_ == 0) {
    // Dies with its supervisor: sockets nobody would hold must close, so that DNS is kube-proxy's again.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != parent) ::_exit(1);
    sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
    held_.clear();  // the parent's copies
    workers_channel_ = std::move(theirs);
    return true;
  }
  if (worker_ < 0) {
    say("error supervisor.fork_failed error=\"%s\"\n", std::strerror(errno));
    end(1);
    return false;
  }
  channel_ = std::move(ours);
  return false;
}

// The only wake-ups are events; the time-out exists while a worker is to be started again.
void Supervisor::wait() {
  std::array<pollfd, 2> waiting{pollfd{signals_.get(), POLLIN, 0}, pollfd{channel_.get(), POLLIN, 0}};
  int timeout = -1;
  if (restart_at_) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*restart_at_ - Clock::now()).count();
    timeout = static_cast<int>(std::max<std::int64_t>(0, left));
  }
  ::poll(waiting.data(), waiting.size(), timeout);
  // What a worker said before it ended is heard before its end.
  if (waiting[1].revents != 0) on_channel();
  if (waiting[0].revents != 0) on_signals();
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
      return;
    case Message::Type::Takeover:
      return start_takeover(message.words());
    case Message::Type::Socket:
    case Message::Type::Failed:
    case Message::Type::TakeoverDone:
      return;  // ours to say
  }
}

void Supervisor::hand_out(const Message& request) {
  const io::ListeningSocket wanted = request.socket();
  auto found = std::ranges::find(held_, wanted, &Held::what);
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
  const std::string program = takeover_program();
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
  if (taken_over_.empty()) return;
  taken_over_.front() = "down";
  start_takeover(std::move(taken_over_));
}

}  // namespace

Supervision supervise() {
  return Supervisor().run();
}

}  // namespace lastlight
