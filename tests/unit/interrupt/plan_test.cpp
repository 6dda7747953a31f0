#include "interrupt/plan.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {
kube::Pod pod(std::int64_t grace) {
  kube::Pod p;
  p.phase = "Running";
  p.grace_seconds = grace;
  return p;
}
const Instant kStart{1h};
}  // namespace

TEST_CASE("who goes and who stays") {
  kube::Pod p = pod(30);
  CHECK(choose(p) == Choice::Evict);  // bare
  p.terminating = true;
  CHECK(choose(p) == Choice::Told);
  p.phase = "Failed";
  CHECK(choose(p) == Choice::StaysFinished);
  p.controller_kind = "DaemonSet";
  CHECK(choose(p) == Choice::StaysDaemonSet);
  p.mirror = true;
  CHECK(choose(p) == Choice::StaysMirror);
}

TEST_CASE("grace is the pod's own, or what is left, and never 0") {
  const DrainConfig policy;
  const Window window{kStart, kStart + 60s};
  CHECK(grace_at(pod(15), window, policy, kStart) == 15s);
  CHECK(grace_at(pod(600), window, policy, kStart) == 57s);
  CHECK(grace_at(pod(15), window, policy, kStart + 42s + 10ms) == 15s);
  CHECK(grace_at(pod(15), window, policy, kStart + 50s) == 7s);
  CHECK(grace_at(pod(15), window, policy, kStart + 59s) == 1s);
  CHECK(grace_at(pod(0), window, policy, kStart) == 1s);
  CHECK(grace_at(pod(INT64_MAX), window, policy, kStart) == 57s);
}

TEST_CASE("D leaves the grace its room, but never less patience than the policy's") {
  DrainConfig policy;
  const Window window{kStart, kStart + 60s};
  CHECK(delete_at(pod(15), window, policy) == kStart + 42s);
  const Instant patient = delete_at(pod(600), window, policy);
  CHECK(patient >= kStart + 10s - 1us);
  CHECK(patient <= kStart + 10s);
  policy.patience = 0;
  CHECK(delete_at(pod(600), window, policy) == kStart);
  policy.patience = 1;
  CHECK(delete_at(pod(15), window, policy) == kStart + 56s);
  CHECK(delete_at(pod(15), {kStart, kStart + 2s}, policy) == kStart);
}

TEST_CASE("a pod's tier: by its readiness gate, its controller, its priority, or as its annotation says") {
  kube::Pod p = pod(30);
  CHECK(tier_of(p) == Tier::Rest);
  p.controller_kind = "StatefulSet";
  CHECK(tier_of(p) == Tier::Stateful);
  p.readiness_gates = {"other", "target-health.elbv2.k8s.aws/k8s-x"};
  CHECK(tier_of(p) == Tier::Balanced);
  p.readiness_gates = {"cloud.google.com/load-balancer-neg-ready"};
  CHECK(tier_of(p) == Tier::Balanced);
  p.priority = 2'000'001'000;
  CHECK(tier_of(p) == Tier::Critical);
  p.order = "3";
  CHECK(tier_of(p) == Tier::Rest);
  p.order = "7";
  CHECK(tier_of(p) == Tier::Critical);
}

TEST_CASE("an eviction out of turn comes a second before D at the latest, never before the notice") {
  const DrainConfig policy;
  const Window window{kStart, kStart + 60s};
  CHECK(evict_at(pod(15), window, policy, true) == kStart);
  CHECK(evict_at(pod(15), window, policy, false) == kStart + 41s);
  CHECK(evict_at(pod(15), {kStart, kStart + 2s}, policy, false) == kStart);
  kube::Pod asks = pod(15);
  asks.do_not_disrupt = true;
  CHECK(evict_at(asks, window, policy, true) == kStart + 41s);
}
