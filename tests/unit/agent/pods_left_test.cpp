#include "agent/pods_left.h"

#include "tests/support/catch.h"

using lastlight::pods_left;
using lastlight::WallTime;
using lastlight::kube::Pod;
using namespace std::chrono_literals;

namespace {

constexpr WallTime kNow = std::chrono::sys_days(std::chrono::year(2026) / 11 / 26) + 12h;

Pod pod(const char* uid, const char* controller = "ReplicaSet") {
  Pod out;
  out.uid = out.name = uid;
  out.controller_kind = controller;
  out.phase = "Running";
  return out;
}

}  // namespace

TEST_CASE("daemons, mirrors and finished pods wait for nobody") {
  std::vector<Pod> pods{pod("a"), pod("b", ""), pod("daemon", "DaemonSet"), pod("mirror"), pod("done"), pod("failed")};
  pods[3].mirror = true;
  pods[4].phase = "Succeeded";
  pods[5].phase = "Failed";
  CHECK(pods_left(pods, kNow) == 2);
  CHECK(pods_left({}, kNow) == 0);
}

TEST_CASE("a pod that is stuck for a minute past its deletion no longer counts, whenever it is first seen") {
  std::vector<Pod> pods{pod("a")};
  pods[0].terminating = true;
  pods[0].deletion_grace_seconds = 30;  // was added by the API server already
  pods[0].deletion_timestamp = "2026-11-26T12:00:00Z";
  CHECK(pods_left(pods, kNow - 30s) == 1);
  CHECK(pods_left(pods, kNow + 60s - 1ms) == 1);
  CHECK(pods_left(pods, kNow + 60s) == 0);
  CHECK(pods_left(pods, kNow + 1h) == 0);
}

TEST_CASE("without a clock, or a time that can be read, nobody is stuck") {
  std::vector<Pod> pods{pod("a")};
  pods[0].terminating = true;
  pods[0].deletion_timestamp = "2020-01-01T00:00:00Z";
  CHECK(pods_left(pods, std::nullopt) == 1);
  pods[0].deletion_timestamp = "yesterday";
  CHECK(pods_left(pods, kNow) == 1);
}
