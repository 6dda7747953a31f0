#include "agent/io/poll.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <sys/socket.h>
#include <unistd.h>

#include "agent/io/file_descriptor.h"

#include "tests/support/catch.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;
using namespace lastlight::io;

namespace {

struct Pair {
  Pair() {
    int fds[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, fds) == 0);
    ours = FileDescriptor(fds[0]);
    theirs = FileDescriptor(fds[1]);
  }
  void send() const { REQUIRE(::write(theirs.get(), "x", 1) == 1); }
  FileDescriptor ours, theirs;
};

// Whether an epoll descriptor of ours has it in its list (proc_pid_fdinfo(5)).
bool is_watched(int fd) {
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
    std::ifstream info(each.path());
    for (std::string word; info >> word;) {
      if (word == "tfd:" && info >> word && word == std::to_string(fd)) return true;
    }
  }
  return false;
}

}  // namespace

TEST_CASE("a descriptor at rest is out of the kernel's sight until the loop waits again, and nothing is missed",
          "[poll]") {
  Loop loop;
  const Pair pair;
  int told = 0;
  std::optional<Poll> poll;
  poll.emplace(loop, pair.ours.get(), [&](Poll::Ready ready) {
    char octet = 0;
    told += ready.readable && ::read(pair.ours.get(), &octet, 1) == 1 ? 1 : 0;
    poll->rest_to_send(Poll::kMany - 1);
    CHECK(is_watched(pair.ours.get()));
    poll->rest_to_send(Poll::kMany);
    CHECK_FALSE(is_watched(pair.ours.get()));
    if (told == 1) pair.send();
  });
  poll->watch(true, false);
  pair.send();
  CHECK(test::turn_until(loop, [&] { return told == 2; }));
  poll->rest_to_send(Poll::kMany);
  CHECK_FALSE(is_watched(pair.ours.get()));
  pair.send();
  CHECK(test::turn_until(loop, [&] { return told == 3; }));
}

TEST_CASE("what is not watched is not watched after a rest either", "[poll]") {
  Loop loop;
  const Pair pair;
  int told = 0;
  Poll poll(loop, pair.ours.get(), [&](Poll::Ready) { ++told; });
  poll.watch(true, false);
  poll.watch(false, false);
  poll.rest_to_send(Poll::kMany);
  pair.send();
  const Instant end = loop.refresh() + std::chrono::milliseconds(5);
  CHECK(test::turn_until(loop, [&] { return loop.now() >= end; }));
  CHECK(told == 0);
  CHECK_FALSE(is_watched(pair.ours.get()));
}
