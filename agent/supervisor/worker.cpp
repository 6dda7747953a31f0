#include "agent/supervisor/worker.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/supervisor/programs.h"
#include "agent/supervisor/say.h"

namespace lastlight {

namespace {

using namespace std::chrono_literals;

constexpr int kMaxShortLives = 5;
constexpr auto kShortLife = 1s;
constexpr auto kFirstDelay = 50ms;  // after the second short life in a row; doubles

}  // namespace

bool Worker::start() {
  start_at_.reset();
  std::array<int, 2> pair{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data()) != 0) return false;
  channel_ = io::FileDescriptor(pair[0]);
  const io::FileDescriptor theirs(pair[1]);
  const pid_t parent = ::getpid();
  started_ = Clock::now();
  ready_ = false;
  pid_ = ::fork();
  if (pid_ == 0) {
    // Dies with its supervisor: sockets nobody would hold must close, so that DNS is kube-proxy's again.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (::getppid() != parent) ::_exit(1);
    become(theirs);
  }
  if (pid_ > 0) return true;
  pid_ = 0;
  say("error supervisor.fork_failed error=\"%s\"\n", std::strerror(errno));
  return false;
}

// Every other descriptor of ours closes with the exec.
void Worker::become(const io::FileDescriptor& channel) {
  origin_.give_back();
  ::fcntl(channel.get(), F_SETFD, 0);
  ::setenv(kChannelVariable, std::to_string(channel.get()).c_str(), 1);
  // malloc keeps seven freed blocks of each size at hand, but what the misses in flight free, the next ones take.
  ::setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=1024", 0);
  const std::string program = program_beside("agent");
  ::execv(program.c_str(), arguments_);
  say("error supervisor.worker_not_run program=%s error=\"%s\"\n", program.c_str(), std::strerror(errno));
  ::_exit(127);
}

void Worker::send(const Message& message, int descriptor) {
  if (channel_) send_message(channel_.get(), message, descriptor);
}

void Worker::ended() {
  pid_ = 0;
  channel_ = {};
}

bool Worker::try_again(int exit_code) {
  short_lives_ = ready_ && Clock::now() - started_ >= kShortLife ? 0 : short_lives_ + 1;
  if (short_lives_ >= kMaxShortLives) {
    say("error supervisor.gave_up exit_code=%d workers=%d\n", exit_code, short_lives_);
    return false;
  }
  const auto delay = short_lives_ < 2 ? 0ms : kFirstDelay * (1 << (short_lives_ - 2));
  say("error supervisor.worker_ended exit_code=%d restart_in_ms=%d\n", exit_code, static_cast<int>(delay.count()));
  start_at_ = Clock::now() + delay;
  return true;
}

}  // namespace lastlight
