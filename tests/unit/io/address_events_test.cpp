#include "agent/io/address_events.h"

#include <cstdio>
#include <cstring>

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/catch.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;

namespace {

bool set_up(const char* link, bool up) {
  const io::FileDescriptor any(::socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, link, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(up ? IFF_UP : 0);
  return ::ioctl(any.get(), SIOCSIFFLAGS, &request) == 0;
}

// In a network namespace of its own: 0, or the number of the step that failed; 77: there can be none here.
int follow_a_link() {
  if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return 77;
  io::Loop loop;
  int told = 0;
  io::AddressEvents events(loop, [&] { ++told; });
  if (!events.start()) return 1;
  // Its addresses come and go with it.
  if (!set_up("lo", true) || !test::turn_until(loop, [&] { return told > 0; })) return 3;
  const int before = told;
  if (!set_up("lo", false) || !test::turn_until(loop, [&] { return told > before; })) return 2;
  return 0;
}

}  // namespace

TEST_CASE("a link that goes up or down is told", "[address_events]") {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) ::_exit(follow_a_link());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) {
    WARN("no network namespaces here");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
}
