#include "agent/confinement.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/io/file_watch.h"
#include "agent/io/http_client.h"
#include "agent/io/http_server.h"
#include "agent/io/memory_file.h"
#include "agent/io/small_file.h"
#include "agent/supervisor/privileges.h"

#include "tests/support/catch.h"
#include "tests/support/folder.h"
#include "tests/support/sanitized.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;

namespace {

// Runs `check` in a confined process of its own; it returns the line that failed, 0 for none.
template <class Check>
int confined(Check check) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    drop_privileges();
    const bool ready = confine().has_value();
    ::_exit(ready ? check() : 255);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  INFO("status " << status);
  REQUIRE(WIFEXITED(status));
  return WEXITSTATUS(status);
}

// qemu-user, which .ci/cross names so, passes no filter on to the kernel.
bool emulated() {
  if (std::getenv("LASTLIGHT_EMULATED") == nullptr) return false;
  WARN("not run: an emulator of programs has no seccomp");
  return true;
}

bool is_not_there(long result) {
  return result == -1 && errno == ENOSYS;
}

}  // namespace

#define HOLDS(condition) \
  if (!(condition)) return __LINE__ % 250 + 1

TEST_CASE("a confined process can neither start another nor reach beyond its sockets", "[confinement]") {
  if (test::kSanitized) {
    CHECK_FALSE(confine());
    return;
  }
  if (emulated()) return;
  const pid_t parent = ::getpid();
  CHECK(confined([parent] {
          char* const arguments[] = {const_cast<char*>("true"), nullptr};
          HOLDS(is_not_there(::execve("/bin/true", arguments, nullptr)));
          HOLDS(is_not_there(::fork()));
          HOLDS(is_not_there(::syscall(SYS_clone3, nullptr, 0)));
          HOLDS(is_not_there(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)));
          HOLDS(is_not_there(::unshare(CLONE_NEWUSER)));
          HOLDS(is_not_there(::kill(parent, 0)));
          HOLDS(is_not_there(::syscall(SYS_tgkill, parent, parent, 0)));
          const int socket = ::socket(AF_INET, SOCK_DGRAM, 0);
          HOLDS(is_not_there(::fcntl(socket, F_SETOWN, parent)));
          HOLDS(is_not_there(::fcntl(socket, F_SETSIG, SIGKILL)));
          f_owner_ex owner{F_OWNER_PID, parent};
          HOLDS(is_not_there(::fcntl(socket, F_SETOWN_EX, &owner)));
          HOLDS(is_not_there(::ioctl(socket, FIOSETOWN, &parent)));
          HOLDS(is_not_there(::ioctl(socket, SIOCSPGRP, &parent)));
          HOLDS(::fcntl(socket, F_SETFL, O_NONBLOCK) == 0);
          HOLDS(is_not_there(::syscall(SYS_bpf, 0, nullptr, 0)));
          HOLDS(is_not_there(::syscall(SYS_seccomp, 0, 0, nullptr)));
          HOLDS(is_not_there(::socket(AF_PACKET, SOCK_RAW, 0)));
          HOLDS(is_not_there(::socket(AF_NETLINK, SOCK_RAW, 12)));  // nfnetlink
          HOLDS(::socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
          HOLDS(::socket(AF_INET6, SOCK_DGRAM, 0) >= 0);
          return 0;
        }) == 0);
}

TEST_CASE("a confined process does what the worker does", "[confinement]") {
  if (test::kSanitized || emulated()) return;
  const test::Folder folder;
  CHECK(confined([&folder] {
          io::Loop loop;
          io::HttpServer server(loop, *Endpoint::parse("127.0.0.1:0", 0), [](const HttpRequest&) {
            return HttpReply{.status = 200, .headers = {}, .body = "hello", .error = {}};
          });
          io::HttpClient client(loop, [](std::string, io::HttpClient::Resolved done) { done({}); });
          std::string body;
          client.send({.url = "http://127.0.0.1:" + std::to_string(server.port()) + "/"},
                      [&](const HttpReply& reply) { body = reply.body; });
          HOLDS(test::turn_until(loop, [&] { return body == "hello"; }));
          const std::string path = (folder.path / "below" / "file").string();
          HOLDS(io::write_small_file(path, "one"));
          bool changed = false;
          const io::FileWatch watch(loop, path, [&] { changed = true; });
          HOLDS(io::write_small_file(path, "two"));
          HOLDS(test::turn_until(loop, [&] { return changed; }));
          HOLDS(io::read_small_file(path) == "two");
          HOLDS(io::memory_file("test", "text"));
          return 0;
        }) == 0);
}

TEST_CASE("abort still ends a confined process", "[confinement]") {
  if (test::kSanitized || emulated()) return;
  const pid_t child = ::fork();
  if (child == 0) {
    drop_privileges();
    std::signal(SIGABRT, SIG_DFL);
    if (confine()) std::abort();
    ::_exit(1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
}
