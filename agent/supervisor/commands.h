// The hook commands, as the supervisor runs them for its worker, which must not start programs: outside the worker's
// seccomp filter, without capabilities or descriptors of ours, in sessions of their own. What the worker says is not
// believed further than needed: a command is a plain file in the directory that was named before the first worker
// served, and its environment is PATH and LASTLIGHT_*.
//
// At most kMax at once. A command whose time is over gets SIGTERM, with all of its session, and SIGKILL a second later.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <sys/types.h>

#include "agent/io/file_descriptor.h"
#include "agent/supervisor/origin.h"
#include "agent/supervisor/supervision.h"

namespace lastlight {

class Commands {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kMax = 16;

  // `tell` gets one CommandEnded per order; for one that could not be started, from within start().
  Commands(const Origin& origin, std::function<void(const Message&)> tell) : origin_(origin), tell_(std::move(tell)) {}

  void set_directory(std::string path);  // the first time counts; empty: there are no commands
  // A Command and what came beside it: its standard input.
  void start(const Message& order, io::FileDescriptor input, Clock::time_point now);
  void on_end(pid_t pid, int status);  // of any child; only ours count
  void on_time(Clock::time_point now);
  std::optional<Clock::time_point> due() const;  // of the next on_time()
  void forget();                                 // who ordered is gone: they run on and nobody is told
  void kill_all();

 private:
  struct Running {
    pid_t pid = 0;             // 0: this place is free
    std::uint64_t number = 0;  // the order's; 0: nobody is told
    Clock::time_point deadline;
    bool timed_out = false;
    io::FileDescriptor failure;  // errno, if there was no exec
  };
  std::optional<std::string> try_start(const Message& order, const io::FileDescriptor& input, Clock::time_point now);
  void tell(std::uint64_t number, int status, const std::string& error);

  const Origin& origin_;
  std::function<void(const Message&)> tell_;
  std::optional<std::string> directory_;
  std::array<Running, kMax> running_;
};

}  // namespace lastlight
