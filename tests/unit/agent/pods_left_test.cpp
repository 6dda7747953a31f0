#include "agent/pods_left.h"

#include "tests/support/catch.h"

using lastlight::Instant;
using lastlight::PodsLeft;
using lastlight::kube::Pod;
using namespace std::chrono_literals;

namespace {

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
  CHECK(PodsLeft().count(pods, Instant{}) == 2);
  CHECK(PodsLeft().count({}, Instant{}) == 0);
}

TEST_CASE("a pod that is stuck for a minute past its deletion no longer counts") {
  std::vector<Pod> pods{pod("a")};
  PodsLeft left;
  const Instant seen = Instant{} + 1h;
  pods[0].terminating = true;
  pods[0].deletion_grace_seconds = 30;
  CHECK(left.count(pods, seen) == 1);
  CHECK(left.count(pods, seen + 90s - 1ms) == 1);
  CHECK(left.count(pods, seen + 90s) == 0);
  // A successor of the same name is another pod.
  pods[0].uid = "a2";
  CHECK(left.count(pods, seen + 91s) == 1);
}
