// The worker as its supervisor sees it: a process with a channel, started again with back-off when it crashes.
// kMaxShortLives in a row that did not live kShortLife, and it is given up.
#pragma once

#include <chrono>
#include <optional>

#include <sys/types.h>

#include "agent/io/file_descriptor.h"
#include "agent/supervisor/origin.h"
#include "agent/supervisor/supervision.h"

namespace lastlight {

class Worker {
 public:
  using Clock = std::chrono::steady_clock;

  // `arguments` as main() has them.
  Worker(char** arguments, const Origin& origin) : arguments_(arguments), origin_(origin) {}

  bool start();
  void start_at(Clock::time_point when) { start_at_ = when; }
  void do_not_start() { start_at_.reset(); }
  bool due() const { return start_at_ && Clock::now() >= *start_at_; }
  std::optional<Clock::time_point> starts_at() const { return start_at_; }

  pid_t pid() const { return pid_; }  // 0: none runs
  int channel() const { return channel_.get(); }
  void send(const Message& message, int descriptor = -1);  // lost when nobody listens
  void close_channel() { channel_ = {}; }

  void serves() { ready_ = ever_ready_ = true; }
  bool ever_served() const { return ever_ready_; }

  void ended();
  // It crashed: it will be started again, or (false) there is no sense in that.
  bool try_again(int exit_code);

 private:
  [[noreturn]] void become(const io::FileDescriptor& channel);

  char** const arguments_;
  const Origin& origin_;
  io::FileDescriptor channel_;
  pid_t pid_ = 0;
  Clock::time_point started_;
  bool ready_ = false;       // this one
  bool ever_ready_ = false;  // some one
  int short_lives_ = 0;
  std::optional<Clock::time_point> start_at_;
};

}  // namespace lastlight
