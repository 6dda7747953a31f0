#include "agent/supervisor/commands.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <poll.h>
#include <sys/wait.h>

#include "agent/io/memory_file.h"
#include "agent/io/small_file.h"

#include "tests/support/catch.h"
#include "tests/support/folder.h"

using namespace lastlight;
using namespace std::chrono_literals;

namespace {

struct Rig {
  test::Folder folder;
  Origin origin;
  std::vector<Message> told;
  Commands commands{origin, [this](const Message& message) { told.push_back(message); }};

  Rig() {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    origin.block(blocked);
    commands.set_directory(folder.path.string());
  }
  ~Rig() {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &blocked, nullptr);
  }

  void script(const std::string& name, const std::string& text) const {
    std::ofstream(folder.path / name) << "#!/bin/sh\ncd " << folder.path.string() << "\n" << text << "\n";
    std::filesystem::permissions(folder.path / name, std::filesystem::perms::owner_all);
  }
  void order(std::vector<std::string> words, const std::string& input = "{}") {
    Message message = *Message::with_words(Message::Type::Command, words);
    message.value = 7;
    commands.start(message, std::move(*io::memory_file("test", input)), Commands::Clock::now());
  }
  // As the supervisor's loop does, until a child of ours ended.
  Message ended() {
    const auto limit = Commands::Clock::now() + 30s;
    while (told.empty() && Commands::Clock::now() < limit) {
      int status = 0;
      if (const pid_t pid = ::waitpid(-1, &status, WNOHANG); pid > 0) {
        commands.on_end(pid, status);
      } else {
        ::poll(nullptr, 0, 2);
      }
      commands.on_time(Commands::Clock::now());
    }
    REQUIRE(told.size() == 1);
    const Message out = told.front();
    told.clear();
    CHECK(out.type == Message::Type::CommandEnded);
    CHECK(out.value == 7);
    CHECK_FALSE(commands.due());
    return out;
  }
  Message run(std::vector<std::string> words, const std::string& input = "{}") {
    order(std::move(words), input);
    return ended();
  }
  std::string read(const std::string& file) const { return io::read_small_file(folder.path / file).value_or("(none)"); }
};

std::string line_of(const std::string& status, const std::string& field) {
  std::istringstream lines(status);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(field + ":\t")) return line.substr(field.size() + 2);
  }
  return "(none)";
}

}  // namespace

TEST_CASE("a command gets its input and its environment, and its end is told", "[commands]") {
  Rig rig;
  const std::string input(300000, 'x');
  rig.script("keep", "cat > in; env > env");
  const Message end = rig.run({"keep", "20000", "LASTLIGHT_PHASE=notice"}, input);
  CHECK(end.status == 0);
  CHECK(end.text_view().empty());
  CHECK(std::filesystem::file_size(rig.folder.path / "in") == input.size());
  CHECK(rig.read("env").find("LASTLIGHT_PHASE=notice\n") != std::string::npos);
  CHECK(rig.read("env").find("PATH=") != std::string::npos);
  CHECK(rig.read("env").find("HOME=") == std::string::npos);
  rig.script("three", "exit 3");
  CHECK(WEXITSTATUS(rig.run({"three", "20000"}).status) == 3);
  rig.script("killed", "kill -9 $$");
  CHECK(WTERMSIG(rig.run({"killed", "20000"}).status) == SIGKILL);
}

TEST_CASE("a command has no power and nothing of ours", "[commands]") {
  Rig rig;
  // Neither close-on-exec nor anybody's business.
  const io::FileDescriptor open(::dup(STDERR_FILENO));
  rig.script("look", "cat /proc/self/status > status; exec ls /proc/self/fd > fds");
  REQUIRE(rig.run({"look", "20000"}).status == 0);
  const std::string status = rig.read("status");
  for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"})
    CHECK(line_of(status, set) == "0000000000000000");
  CHECK(line_of(status, "NoNewPrivs") == "1");
  CHECK(line_of(status, "Seccomp") == line_of(io::read_small_file("/proc/self/status").value_or(""), "Seccomp"));
  CHECK(line_of(status, "SigBlk") == "0000000000000000");
  // Of ls itself: 3 is the folder it reads.
  CHECK(rig.read("fds") == "0\n1\n2\n3\n");
}

TEST_CASE("nothing but the named directory's files is run, and with no variable that a loader heeds", "[commands]") {
  Rig rig;
  rig.script("good", "touch done");
  std::filesystem::create_directory(rig.folder.path / "sub");
  for (const std::vector<std::string>& words : {std::vector<std::string>{"/bin/true", "1000"},
                                                {"../good", "1000"},
                                                {"sub/../good", "1000"},
                                                {"..", "1000"},
                                                {"", "1000"},
                                                {"good"},
                                                {"good", "1000", "LD_PRELOAD=/proc/self/fd/0"}}) {
    const Message end = rig.run(words);
    CHECK(end.status != 0);
    CHECK(end.text_view() == "the supervisor runs no such command");
  }
  CHECK(rig.read("done") == "(none)");
  rig.commands.set_directory("/bin");  // too late
  CHECK(rig.run({"true", "1000"}).text_view() == "No such file or directory");
  Message bare = *Message::with_words(Message::Type::Command, std::vector<std::string>{"good", "1000"});
  bare.value = 7;
  rig.commands.start(bare, {}, Commands::Clock::now());
  CHECK(rig.ended().status != 0);
  Commands none(rig.origin, [&](const Message& message) { rig.told.push_back(message); });
  none.start(bare, std::move(*io::memory_file("test", "")), Commands::Clock::now());
  CHECK(rig.ended().text_view() == "the supervisor runs no such command");
}

TEST_CASE("a file that is no program is an error with its reason", "[commands]") {
  Rig rig;
  rig.script("plain", "exit 0");
  std::filesystem::permissions(rig.folder.path / "plain", std::filesystem::perms::owner_read);
  const Message end = rig.run({"plain", "1000"});
  CHECK(WEXITSTATUS(end.status) == 127);
  CHECK(end.text_view() == "Permission denied");
}

TEST_CASE("a command's time is bounded, with all that it started", "[commands]") {
  Rig rig;
  // The first ignores SIGTERM, and so does its child.
  rig.script("stay", "trap '' TERM; sleep 600 & echo $! $$ > pids; wait; wait; sleep 600");
  const Message end = rig.run({"stay", "300"});
  CHECK(end.text_view() == "ran longer than its timeout");
  std::istringstream pids(rig.read("pids"));
  pid_t child = 0, parent = 0;
  pids >> child >> parent;
  REQUIRE(child > 1);
  REQUIRE(parent > 1);
  // Killed; the child may still wait for its reaper as a zombie.
  const auto dead = [](pid_t pid) {
    const std::string stat = io::read_small_file("/proc/" + std::to_string(pid) + "/stat").value_or("");
    return stat.empty() || stat.find(") Z") != std::string::npos;
  };
  const auto limit = Commands::Clock::now() + 20s;
  while (!(dead(child) && dead(parent)) && Commands::Clock::now() < limit)
    ::poll(nullptr, 0, 5);
  CHECK(dead(child));
  CHECK(dead(parent));
}

TEST_CASE("there is a bound, and who is gone is told nothing", "[commands]") {
  Rig rig;
  rig.script("wait", "exec sleep 600");
  for (std::size_t i = 0; i < Commands::kMax; ++i)
    rig.order({"wait", "60000"});
  CHECK(rig.told.empty());
  rig.order({"wait", "60000"});
  REQUIRE(rig.told.size() == 1);
  CHECK(rig.told.front().text_view() == "too many commands at once");
  rig.told.clear();
  CHECK(rig.commands.due());
  rig.commands.forget();
  rig.commands.kill_all();
  for (std::size_t i = 0; i < Commands::kMax; ++i) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, 0);
    REQUIRE(pid > 0);
    rig.commands.on_end(pid, status);
  }
  CHECK(rig.told.empty());
  CHECK_FALSE(rig.commands.due());
}
