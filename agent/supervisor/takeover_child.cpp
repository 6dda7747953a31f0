#include "agent/supervisor/takeover_child.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/wait.h>
#include <unistd.h>

#include "agent/supervisor/programs.h"
#include "agent/supervisor/say.h"
#include "dnscache/takeover/plan.h"

namespace lastlight {

int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void TakeoverChild::ask(std::vector<std::string> words) {
  if (!words.empty() && dns::is_verb(words.front())) start(std::move(words));
}

void TakeoverChild::start(std::vector<std::string> words) {
  if (pid_ != 0) {
    next_ = std::move(words);
    return;
  }
  const std::string program = program_beside("takeover");
  std::vector<char*> arguments{const_cast<char*>("takeover")};
  for (std::string& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ == 0) {
    origin_.give_back();
    ::dup2(STDERR_FILENO, STDOUT_FILENO);
    ::execv(program.c_str(), arguments.data());
    say("error takeover.not_run program=%s error=\"%s\"\n", program.c_str(), std::strerror(errno));
    ::_exit(127);
  }
  if (pid_ < 0) {
    pid_ = 0;
    return;
  }
  const std::string verb = words.front();
  if (verb == "up" || verb == "repair") in_place_ = std::move(words);
  if (verb == "down") in_place_.clear();
}

std::optional<int> TakeoverChild::on_end(pid_t pid, int status) {
  if (pid != pid_) return std::nullopt;
  pid_ = 0;
  if (!next_.empty()) start(std::exchange(next_, {}));
  return exit_code(status);
}

void TakeoverChild::undo() {
  if (in_place_.empty()) return;
  in_place_.front() = "down";
  start(std::exchange(in_place_, {}));
}

}  // namespace lastlight
