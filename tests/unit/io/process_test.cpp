#include "agent/io/process.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include <signal.h>

#include "agent/io/http_client.h"
#include "agent/io/http_server.h"
#include "agent/io/small_file.h"

#include "tests/support/catch.h"
#include "tests/support/folder.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;
using namespace std::chrono_literals;
using test::turn_until;

namespace {

struct Folder : test::Folder {
  std::string read(const std::string& file) const { return io::read_small_file(path / file).value_or("(none)"); }
};

io::ProcessEnd run(io::Loop& loop, io::ProcessSpec spec) {
  std::optional<io::ProcessEnd> got;
  const io::Process process(loop, std::move(spec), [&](io::ProcessEnd end) { got = std::move(end); });
  REQUIRE_FALSE(got);
  REQUIRE(turn_until(loop, [&] { return got.has_value(); }));
  return *got;
}

io::ProcessSpec shell(const std::string& script, std::string input = {}, Duration timeout = 20s) {
  return {.arguments = {"/bin/sh", "-c", script},
          .environment = {"PATH=/usr/bin:/bin", "GREETING=hello"},
          .input = std::move(input),
          .timeout = timeout};
}

}  // namespace

TEST_CASE("a program gets its input and its environment, and its exit code is known", "[process]") {
  io::Loop loop;
  const Folder folder;
  const std::string input(300000, 'x');  // more than a pipe holds
  CHECK(run(loop, shell("cat > " + folder.path.string() + "/in; env > " + folder.path.string() + "/env", input)).ok());
  CHECK(std::filesystem::file_size(folder.path.string() + "/in") == input.size());
  CHECK(folder.read("env").find("GREETING=hello\n") != std::string::npos);
  CHECK(folder.read("env").find("HOME=") == std::string::npos);
  CHECK(run(loop, shell("exit 3", input)).exit_code == 3);  // it never reads
  CHECK(run(loop, shell("kill -9 $$")).signal == SIGKILL);
}

TEST_CASE("a program that is not there is an error, not a crash", "[process]") {
  io::Loop loop;
  const io::ProcessEnd end = run(loop, {.arguments = {"/nowhere/at/all"}, .environment = {}, .input = "x"});
  CHECK_FALSE(end.ok());
  CHECK(end.error.find("no such file") != std::string::npos);
}

TEST_CASE("a program's time is bounded, with all that it started", "[process]") {
  io::Loop loop;
  const Folder folder;
  const std::string file = folder.path.string() + "/pids";
  // The first ignores SIGTERM, and so does its child.
  const io::ProcessEnd end =
      run(loop, shell("trap '' TERM; sleep 600 & echo $! $$ > " + file + "; wait; wait; sleep 600", {}, 300ms));
  CHECK(end.timed_out);
  CHECK_FALSE(end.ok());
  std::istringstream pids(folder.read("pids"));
  pid_t child = 0, parent = 0;
  pids >> child >> parent;
  REQUIRE(child > 1);
  REQUIRE(parent > 1);
  // Killed; the child may still wait for its reaper as a zombie.
  const auto dead = [](pid_t pid) {
    const std::string stat = io::read_small_file("/proc/" + std::to_string(pid) + "/stat").value_or("");
    return stat.empty() || stat.find(") Z") != std::string::npos;
  };
  CHECK(turn_until(loop, [&] {
    io::Timer again(loop, [] {});
    again.start_in(5ms);
    loop.run_once();
    return dead(child) && dead(parent);
  }));
}

TEST_CASE("a program gets none of our descriptors", "[process]") {
  io::Loop loop;
  const Folder folder;
  // An HTTP server and a client with a kept connection between them: listener, epoll, two sockets.
  io::HttpServer server(loop, *Endpoint::parse("127.0.0.1:0", 0), [](const HttpRequest&) {
    return HttpReply{.status = 200, .headers = {}, .body = {}, .error = {}};
  });
  io::HttpClient client(loop, [](std::string, io::HttpClient::Resolved done) { done({}); });
  int done = 0;
  client.send({.url = "http://127.0.0.1:" + std::to_string(server.port()) + "/"}, [&](HttpReply) { ++done; });
  REQUIRE(turn_until(loop, [&] { return done == 1; }));
  // Of ls itself: 3 is the folder it reads.
  REQUIRE(run(loop, shell("exec ls /proc/self/fd > " + folder.path.string() + "/fds")).ok());
  CHECK(folder.read("fds") == "0\n1\n2\n3\n");
}
