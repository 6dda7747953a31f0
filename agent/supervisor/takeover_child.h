// The privileged child that changes the node's network (lastlight-takeover), as the supervisor runs it: one at a time,
// the latest order waits. It remembers what is in place, so that it can be undone at the end.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "agent/supervisor/origin.h"

namespace lastlight {

class TakeoverChild {
 public:
  explicit TakeoverChild(const Origin& origin) : origin_(origin) {}

  // What a worker may have done: another verb than up, repair, release and down is ignored.
  void ask(std::vector<std::string> words);
  // Its exit code, if it was this child that ended; the order that waited is under way then.
  std::optional<int> on_end(pid_t pid, int status);
  void undo();  // what is in place, if anything
  bool running() const { return pid_ != 0; }

 private:
  void start(std::vector<std::string> words);

  const Origin& origin_;
  pid_t pid_ = 0;
  std::vector<std::string> next_;      // asked for while one runs; the latest counts
  std::vector<std::string> in_place_;  // the plan that must be undone at the end
};

// As a shell says it: 128 and the signal.
int exit_code(int status);

}  // namespace lastlight
