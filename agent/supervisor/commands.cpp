#include "agent/supervisor/commands.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <unistd.h>

#include "agent/supervisor/privileges.h"

namespace lastlight {

namespace {

constexpr auto kLastChance = std::chrono::seconds(1);
constexpr int kMostDescriptors = 1024;  // where the kernel has no close_range(2) with a flag (before 5.11)

struct Program {
  std::string path;
  std::vector<std::string> environment;
  std::chrono::milliseconds timeout{};
};

// Words: its file, its time in milliseconds, NAME=value...
std::optional<Program> program_of(const Message& order, const std::string& directory) {
  std::vector<std::string> words = order.words();
  if (directory.empty() || words.size() < 2) return std::nullopt;
  const std::string& file = words[0];
  if (file.empty() || file == "." || file == ".." || file.find('/') != std::string::npos) return std::nullopt;
  std::int64_t milliseconds = 0;
  std::from_chars(words[1].data(), words[1].data() + words[1].size(), milliseconds);
  const char* path = std::getenv("PATH");
  Program out{.path = directory + "/" + file,
              .environment = {std::string("PATH=") + (path != nullptr ? path : "/usr/bin:/bin")},
              .timeout = std::chrono::milliseconds(milliseconds)};
  for (std::string& word : std::span(words).subspan(2)) {
    if (!word.starts_with("LASTLIGHT_")) return std::nullopt;
    out.environment.push_back(std::move(word));
  }
  return out;
}

void keep_descriptors_here() {
  if (::close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0) return;
  for (int fd = STDERR_FILENO + 1; fd < kMostDescriptors; ++fd)
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

// The session, or, in its first moment, the process that is about to found it.
void signal_session(pid_t pid, int number) {
  if (::kill(-pid, number) != 0) ::kill(pid, number);
}

[[noreturn]] void become(Program& program, const Origin& origin, int input, int failure) {
  std::vector<char*> environment;
  for (std::string& each : program.environment)
    environment.push_back(each.data());
  environment.push_back(nullptr);
  char* const arguments[] = {program.path.data(), nullptr};
  origin.give_back();
  ::setsid();
  ::dup2(input, STDIN_FILENO);
  ::fcntl(STDIN_FILENO, F_SETFD, 0);  // where it had that number already
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  keep_descriptors_here();
  drop_privileges();
  ::execve(program.path.c_str(), arguments, environment.data());
  const int why = errno;
  static_cast<void>(!::write(failure, &why, sizeof why));
  ::_exit(127);
}

}  // namespace

void Commands::set_directory(std::string path) {
  if (!directory_) directory_ = std::move(path);
}

void Commands::start(const Message& order, io::FileDescriptor input, Clock::time_point now) {
  if (const auto why = try_start(order, input, now)) tell(order.value, -1, *why);
}

std::optional<std::string> Commands::try_start(const Message& order, const io::FileDescriptor& input,
                                               Clock::time_point now) {
  auto program = program_of(order, directory_.value_or(""));
  if (!program || !input) return "the supervisor runs no such command";
  const auto place = std::ranges::find(running_, 0, &Running::pid);
  if (place == running_.end()) return "too many commands at once";
  std::array<int, 2> pipe{-1, -1};
  if (::pipe2(pipe.data(), O_CLOEXEC | O_NONBLOCK) != 0) return std::strerror(errno);
  io::FileDescriptor failure(pipe[0]);
  const io::FileDescriptor theirs(pipe[1]);
  const pid_t pid = ::fork();
  if (pid == 0) become(*program, origin_, input.get(), theirs.get());
  if (pid < 0) return std::strerror(errno);
  *place = {.pid = pid,
            .number = order.value,
            .deadline = now + program->timeout,
            .timed_out = false,
            .failure = std::move(failure)};
  return std::nullopt;
}

void Commands::on_end(pid_t pid, int status) {
  const auto found = std::ranges::find(running_, pid, &Running::pid);
  if (found == running_.end()) return;
  const Running ended = std::exchange(*found, {});
  if (ended.timed_out) ::kill(-pid, SIGKILL);  // what it left behind
  int why = 0;
  if (::read(ended.failure.get(), &why, sizeof why) != static_cast<ssize_t>(sizeof why)) why = 0;
  tell(ended.number, status, why != 0 ? std::strerror(why) : ended.timed_out ? "ran longer than its timeout" : "");
}

void Commands::on_time(Clock::time_point now) {
  for (Running& each : running_) {
    if (each.pid == 0 || now < each.deadline) continue;
    signal_session(each.pid, each.timed_out ? SIGKILL : SIGTERM);
    each.timed_out = true;
    each.deadline = now + kLastChance;
  }
}

std::optional<Commands::Clock::time_point> Commands::due() const {
  std::optional<Clock::time_point> first;
  for (const Running& each : running_) {
    if (each.pid != 0 && (!first || each.deadline < *first)) first = each.deadline;
  }
  return first;
}

void Commands::forget() {
  for (Running& each : running_)
    each.number = 0;
}

void Commands::kill_all() {
  for (const Running& each : running_) {
    if (each.pid != 0) signal_session(each.pid, SIGKILL);
  }
}

void Commands::tell(std::uint64_t number, int status, const std::string& error) {
  if (number == 0) return;
  Message message = Message::with_text(Message::Type::CommandEnded, error);
  message.value = number;
  message.status = status;
  tell_(message);
}

}  // namespace lastlight
