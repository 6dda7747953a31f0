#include "interrupt/rehearsal.h"

#include <algorithm>

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

const Window kWindow{.noticed = Instant{1h}, .deadline = Instant{1h} + 120s};

kube::LabelledPod pod(const std::string& name, const std::string& app, std::int64_t grace = 30) {
  kube::LabelledPod out;
  out.pod.namespace_name = "shop";
  out.pod.name = name;
  out.pod.uid = name;
  out.pod.controller_kind = "ReplicaSet";
  out.pod.phase = "Running";
  out.pod.grace_seconds = grace;
  out.labels = {{"app", app}};
  out.ready = true;
  return out;
}

kube::Budget budget(const std::string& app, std::int64_t allowed, std::int64_t healthy) {
  kube::Budget out;
  out.namespace_name = "shop";
  out.name = app;
  out.selector = {{.key = "app", .is = kube::Requirement::Operator::In, .values = {app}}};
  out.allowed = allowed;
  out.healthy = healthy;
  out.desired = healthy - allowed;
  out.observed = true;
  return out;
}

const Rehearsed& of(const std::vector<Rehearsed>& rows, const std::string& name) {
  return *std::ranges::find(rows, name, [](const Rehearsed& row) { return row.pod.name; });
}

}  // namespace

TEST_CASE("a rehearsal says what the drain's own plan says") {
  const DrainConfig policy;
  auto daemon = pod("daemon", "daemon");
  daemon.pod.controller_kind = "DaemonSet";
  auto shy = pod("shy", "shy");
  shy.pod.do_not_disrupt = true;
  const auto rows = rehearse({daemon, pod("slow", "slow", 600), shy, pod("web", "web")}, std::nullopt, kWindow, policy);
  REQUIRE(rows.size() == 4);
  CHECK(rows.back().pod.name == "daemon");
  CHECK(rows.back().choice == Choice::StaysDaemonSet);
  CHECK(of(rows, "web").evict_at == kWindow.noticed);
  CHECK(of(rows, "web").grace == 30s);
  CHECK(of(rows, "web").delete_at == delete_at(pod("web", "web").pod, kWindow, policy));
  CHECK(of(rows, "slow").grace == 117s);
  CHECK(of(rows, "shy").evict_at == of(rows, "shy").delete_at - 1s);
  CHECK(rows[2].pod.name == "shy");
  for (const Rehearsed& row : rows)
    CHECK_FALSE(row.budget);
}

TEST_CASE("budgets are counted down, since a dry run spends none") {
  const auto rows = rehearse({pod("a", "web"), pod("b", "web"), pod("c", "web"), pod("d", "free")},
                             std::vector{budget("web", 2, 5)}, kWindow, DrainConfig{});
  CHECK_FALSE(of(rows, "a").budget->refuses);
  CHECK(of(rows, "a").budget->text == "2 left");
  CHECK_FALSE(of(rows, "b").budget->refuses);
  CHECK(of(rows, "c").budget->refuses);
  CHECK(of(rows, "c").budget->name == "shop/web");
  CHECK(of(rows, "c").budget->text == "needs 3 healthy pods, has 3");
  CHECK(of(rows, "d").budget->name.empty());
  // What it would get at D, which is its full grace in this window.
  CHECK(of(rows, "c").grace == 30s);
}

TEST_CASE("the exceptions of an eviction are the server's") {
  auto pending = pod("pending", "web");
  pending.pod.phase = "Pending";
  auto sick = pod("sick", "web");
  sick.ready = false;
  SECTION("a pod that does not run costs nothing, nor one that is not ready where enough are") {
    const auto rows = rehearse({pending, sick}, std::vector{budget("web", 0, 3)}, kWindow, DrainConfig{});
    CHECK_FALSE(of(rows, "pending").budget->refuses);
    CHECK_FALSE(of(rows, "sick").budget->refuses);
  }
  SECTION("one that is not ready is refused where too few are, unless the budget lets such pods go") {
    auto poor = budget("web", 0, 1);
    poor.desired = 2;
    CHECK(rehearse({sick}, std::vector{poor}, kWindow, DrainConfig{})[0].budget->refuses);
    poor.unhealthy_always_go = true;
    CHECK_FALSE(rehearse({sick}, std::vector{poor}, kWindow, DrainConfig{})[0].budget->refuses);
  }
  SECTION("two budgets let nobody go, nor does one that is not counted yet") {
    auto second = budget("web", 5, 5);
    second.name = "more";
    CHECK(rehearse({pod("a", "web")}, std::vector{budget("web", 5, 5), second}, kWindow, DrainConfig{})[0]
              .budget->refuses);
    auto fresh = budget("web", 5, 5);
    fresh.observed = false;
    CHECK(rehearse({pod("a", "web")}, std::vector{fresh}, kWindow, DrainConfig{})[0].budget->refuses);
  }
}

TEST_CASE("in the staged order a tier waits for the one before it, but not past its last instant") {
  DrainConfig policy;
  policy.order = DrainConfig::Order::Staged;
  auto set = pod("set", "set");
  set.pod.controller_kind = "StatefulSet";
  auto critical = pod("critical", "critical");
  critical.pod.priority = 2'000'000'000;
  const auto rows = rehearse({critical, pod("web", "web"), set}, std::vector<kube::Budget>{}, kWindow, policy);
  CHECK_FALSE(of(rows, "set").after);
  CHECK(of(rows, "set").evict_at == kWindow.noticed);
  CHECK(of(rows, "web").after == Tier::Stateful);
  CHECK(of(rows, "web").evict_at == of(rows, "web").delete_at - 1s);
  CHECK(of(rows, "critical").after == Tier::Rest);
  CHECK(tier_name(of(rows, "critical").tier) == "critical");
}
