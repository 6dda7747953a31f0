#include "agent/io/driver_statistics.h"

#include <cstdlib>

#include <net/if.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/catch.h"

using namespace lastlight;

TEST_CASE("the default route's interface", "[driver_statistics]") {
  CHECK(io::default_interface("Iface\tDestination\tGateway\nens6\tFEA9FEA9\t0\nens5\t00000000\t0100A8C0\n") == "ens5");
  CHECK(io::default_interface("Iface\tDestination\n").empty());
  CHECK(io::default_interface("").empty());
}

TEST_CASE("a driver that does not count it, and no interface at all", "[driver_statistics]") {
  CHECK_FALSE(io::driver_statistic("lo", "linklocal_allowance_exceeded"));
  CHECK_FALSE(io::driver_statistic("no-such-interface-name-at-all", "x"));
  CHECK_FALSE(io::driver_statistic("", ""));
}

// veth counts one thing by name: the index of its other end.
TEST_CASE("what a driver counts is read by its name", "[driver_statistics]") {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNET) != 0 || std::system("ip link add left type veth peer name right") != 0) ::_exit(2);
    const auto peer = io::driver_statistic("left", "peer_ifindex");
    const bool right = peer && *peer == ::if_nametoindex("right") && !io::driver_statistic("left", "peer_ifinde");
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  if (WEXITSTATUS(status) == 2) {
    WARN("no network namespace can be made here");
    return;
  }
  CHECK(status == 0);
}
