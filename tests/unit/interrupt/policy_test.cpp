#include "interrupt/policy.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

constexpr Instant kNow{10h};

Notice notice(NoticeKind kind, Instant deadline, std::string id = "n1", std::string code = {}) {
  return {.kind = kind, .deadline = deadline, .id = std::move(id), .source = "test", .code = std::move(code)};
}

}  // namespace

TEST_CASE("the defaults: what ends drains at once, what is planned drains ahead of it, advice is told") {
  struct Row {
    NoticeKind kind;
    Treatment treatment;
  };
  for (const auto& [kind, treatment] :
       {Row{NoticeKind::SpotTerminate, Treatment::Drain}, Row{NoticeKind::SpotStop, Treatment::Cordon},
        Row{NoticeKind::SpotHibernate, Treatment::Cordon}, Row{NoticeKind::Preempt, Treatment::Drain},
        Row{NoticeKind::Terminate, Treatment::Drain}, Row{NoticeKind::AsgTerminate, Treatment::Drain},
        Row{NoticeKind::Reboot, Treatment::DrainAt}, Row{NoticeKind::Redeploy, Treatment::DrainAt},
        Row{NoticeKind::Maintenance, Treatment::DrainAt}, Row{NoticeKind::Rebalance, Treatment::Event},
        Row{NoticeKind::Freeze, Treatment::Event}, Row{NoticeKind::LiveMigration, Treatment::Event}}) {
    Policy policy{PolicyConfig{}};
    CHECK(policy.on_notice(notice(kind, kNow + 2min), kNow) == treatment);
    const Stance stance = policy.decide(kNow);
    const bool drains = treatment == Treatment::Drain || treatment == Treatment::DrainAt;
    CHECK(stance.drain.has_value() == drains);  // 2 min are less than the lead
    CHECK(stance.mark.has_value() == (treatment == Treatment::Cordon));
    REQUIRE(stance.nearest);
    CHECK(stance.nearest->kind == kind);
    policy.on_withdrawn("n1");
    CHECK_FALSE(policy.decide(kNow).drain);
    CHECK_FALSE(policy.decide(kNow).mark);
    CHECK_FALSE(policy.decide(kNow).nearest);
  }
}

TEST_CASE("a planned end is drained for ten minutes ahead, not weeks") {
  Policy policy{PolicyConfig{}};
  policy.on_notice(notice(NoticeKind::Maintenance, kNow + 24h * 14), kNow);
  const Stance stance = policy.decide(kNow);
  CHECK_FALSE(stance.drain);
  CHECK(stance.wake == kNow + 24h * 14 - 10min);
  CHECK_FALSE(policy.decide(stance.wake - 1ns).drain);
  REQUIRE(policy.decide(stance.wake).drain);
  CHECK(policy.decide(stance.wake).drain->deadline == kNow + 24h * 14);
}

TEST_CASE("a postponed end moves the drain; ignored notices are not told") {
  PolicyConfig config;
  config.freeze = Treatment::Ignore;
  Policy policy{config};
  policy.on_notice(notice(NoticeKind::Reboot, kNow + 1h), kNow);
  policy.on_notice(notice(NoticeKind::Reboot, kNow + 2h), kNow + 1s);
  CHECK(policy.decide(kNow + 1s).wake == kNow + 2h - 10min);
  policy.on_notice(notice(NoticeKind::Reboot, kNever), kNow + 2s);  // news without a time leave the one known
  CHECK(policy.decide(kNow + 1s).wake == kNow + 2h - 10min);
  Policy other{config};
  other.on_notice(notice(NoticeKind::Freeze, kNow + 15min), kNow);
  CHECK_FALSE(other.decide(kNow).nearest);
  CHECK(other.counters().ignored == 1);
}

TEST_CASE("a code's treatment wins over its kind's") {
  PolicyConfig config;
  config.codes = {{.code = "instance-retirement", .treatment = Treatment::Drain}};
  Policy policy{config};
  CHECK(policy.on_notice(notice(NoticeKind::Maintenance, kNow + 24h, "a", "instance-retirement"), kNow) ==
        Treatment::Drain);
  CHECK(policy.on_notice(notice(NoticeKind::Maintenance, kNow + 24h, "b", "system-maintenance"), kNow) ==
        Treatment::DrainAt);
  CHECK(policy.decide(kNow).drain->id == "a");
}

TEST_CASE("of several the one that ends first is drained for, and those past come last") {
  Policy policy{PolicyConfig{}};
  policy.on_notice(notice(NoticeKind::AsgTerminate, kNow + 120s, "asg"), kNow);
  policy.on_notice(notice(NoticeKind::SpotTerminate, kNow + 60s, "spot"), kNow);
  policy.on_notice(notice(NoticeKind::Rebalance, kNever, "advice"), kNow);
  CHECK(policy.decide(kNow).drain->id == "spot");
  CHECK(policy.decide(kNow).nearest->id == "spot");
  CHECK(policy.decide(kNow + 61s).drain->id == "asg");
  CHECK(policy.decide(kNow + 121s).drain->id == "spot");
  policy.on_withdrawn("spot");
  policy.on_withdrawn("asg");
  CHECK(policy.decide(kNow).nearest->id == "advice");
}

TEST_CASE("a rebalance recommendation is acted upon once in a period, and not on a young node") {
  PolicyConfig config;
  config.rebalance = Treatment::Drain;
  Policy policy{config};
  CHECK(policy.on_notice(notice(NoticeKind::Rebalance, kNever, "young"), Instant(9min)) == Treatment::Event);
  CHECK(policy.on_notice(notice(NoticeKind::Rebalance, kNever, "first"), Instant(11min)) == Treatment::Drain);
  CHECK(policy.decide(Instant(11min)).drain->deadline == Instant(13min));  // it names no time
  CHECK(policy.on_notice(notice(NoticeKind::Rebalance, kNever, "first"), Instant(12min)) == Treatment::Drain);
  CHECK(policy.decide(Instant(12min)).drain->deadline == Instant(13min));  // the same one does not move it
  CHECK(policy.on_notice(notice(NoticeKind::Rebalance, kNever, "second"), Instant(70min)) == Treatment::Event);
  CHECK(policy.on_notice(notice(NoticeKind::Rebalance, kNever, "third"), Instant(71min)) == Treatment::Drain);
  CHECK(policy.counters().limited == 2);
}

TEST_CASE(
    "a mark ends an hour after the time the notice names, or after its making; the strongest counts, a drain more") {
  PolicyConfig config;
  config.rebalance = Treatment::Taint;
  Policy policy{config};
  Notice advice = notice(NoticeKind::Rebalance, kNever, "advice");
  advice.made = kNow - 20min;
  CHECK(policy.on_notice(advice, kNow) == Treatment::Taint);
  REQUIRE(policy.decide(kNow).mark);
  CHECK(policy.decide(kNow).mark->mark == kube::Mark::SoftTaint);
  CHECK(policy.decide(kNow).mark->until == kNow + 40min);
  CHECK(policy.decide(kNow).wake == kNow + 40min);
  CHECK(policy.decide(kNow).nearest->id == "advice");
  CHECK(policy.on_notice(notice(NoticeKind::SpotStop, kNow + 2min, "stop"), kNow) == Treatment::Cordon);
  CHECK(policy.decide(kNow).mark->notice.id == "stop");
  CHECK(policy.decide(kNow).mark->until == kNow + 62min);
  CHECK_FALSE(policy.decide(kNow).drain);
  policy.on_notice(notice(NoticeKind::SpotTerminate, kNow + 2min, "spot"), kNow);
  CHECK(policy.decide(kNow).drain->id == "spot");
  CHECK_FALSE(policy.decide(kNow).mark);
  policy.on_withdrawn("spot");
  CHECK(policy.decide(kNow).mark->notice.id == "stop");
  policy.on_withdrawn("stop");
  CHECK(policy.decide(kNow).mark->notice.id == "advice");
  CHECK_FALSE(policy.decide(kNow + 40min).mark);
  CHECK(policy.decide(kNow + 40min).nearest->id == "advice");  // it stands and is still told
  // A restarted agent hears the advice again: what has expired stays so.
  Policy restarted{config};
  restarted.on_notice(advice, kNow + 1h);
  CHECK_FALSE(restarted.decide(kNow + 1h).mark);
}

TEST_CASE("each kind by each treatment: withdrawal leaves nothing to do") {
  for (std::size_t k = 0; k < kNoticeKinds; ++k) {
    for (const Treatment treatment : {Treatment::Ignore, Treatment::Event, Treatment::Taint, Treatment::Cordon,
                                      Treatment::Drain, Treatment::DrainAt}) {
      PolicyConfig config;
      config.codes = {{.code = "c", .treatment = treatment}};
      Policy policy{config};
      const auto kind = static_cast<NoticeKind>(k);
      INFO(kind_name(kind) << " " << treatment_name(treatment));
      CHECK(policy.on_notice(notice(kind, kNow + 1min, "n", "c"), kNow) == treatment);
      const Stance stance = policy.decide(kNow);
      CHECK(stance.drain.has_value() == (treatment >= Treatment::Drain));
      CHECK(stance.mark.has_value() == (treatment == Treatment::Taint || treatment == Treatment::Cordon));
      policy.on_withdrawn("n");
      const Stance after = policy.decide(kNow);
      CHECK_FALSE(after.drain);
      CHECK_FALSE(after.mark);
      CHECK_FALSE(after.nearest);
      CHECK(after.wake == kNever);
    }
  }
}

TEST_CASE("what stands is bounded") {
  Policy policy{PolicyConfig{}};
  for (int i = 0; i < 100; ++i)
    policy.on_notice(notice(NoticeKind::Freeze, kNow, std::to_string(i)), kNow);
  CHECK(policy.counters().over_bound == 100 - Policy::kMax);
}
