// A program started by the agent: its own session, text on its standard input, its output on our standard error, and an
// end: exit, or SIGTERM to the whole session when the time is over and SIGKILL a second later. It inherits descriptors
// 0, 1 and 2 only: everything else is made close-on-exec first, for libraries open what they like.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/io/loop.h"

namespace lastlight::io {

struct ProcessSpec {
  std::vector<std::string> arguments;    // the first is the program's path; no shell, no search
  std::vector<std::string> environment;  // NAME=value; nothing is inherited
  std::string input;
  Duration timeout = std::chrono::seconds(10);
};

struct ProcessEnd {
  int exit_code = -1;  // -1: a signal, or it could not be started
  int signal = 0;
  bool timed_out = false;
  std::string error;  // why it could not be started
  bool ok() const { return exit_code == 0; }
};

class Process {
 public:
  // `ended` is called once, never inside the constructor; it may destroy the object.
  Process(Loop& loop, ProcessSpec spec, std::move_only_function<void(ProcessEnd)> ended);
  ~Process();  // kills the session if it still runs; `ended` is not called
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  int pid() const;  // 0: was not started

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lastlight::io
