// Marks without a drain, against the modelled API server: soft taint and cordon, their expiry, withdrawal and change.
#include "interrupt/manual.h"

#include "tests/scenarios/drain_world.h"

using namespace lastlight;
using namespace lastlight::test;

namespace {

constexpr std::string_view kTheirs = R"([{"key":"theirs","effect":"NoExecute"}])";

struct Marked : World {
  explicit Marked(std::uint64_t seed) : World(seed) {
    marks_alone = true;
    pods = {pod(0)};
    deadline = now + 10h;
    node.object["spec"]["taints"] = *parse_json(kTheirs);
  }
  SavedDrain saved(kube::Mark mark, Instant until, std::string id = "n") {
    SavedDrain out = notice(std::move(id));
    out.mark = mark;
    out.notice.deadline = until;
    return out;
  }
  void settle(Duration how_long = 10s) {
    const Instant end = now + how_long;
    deadline = end;
    turn(0s);
    now = end;
    take(drain->tick(now));
  }
  bool cordoned() const { return bool_at(node.object, "spec", "unschedulable"); }
  std::string taints() const { return dump_json(node.object["spec"]["taints"]); }
  bool untouched() const { return !cordoned() && taints() == theirs() && none("annotations") && none("labels"); }
  bool none(std::string_view of) const {
    const Json* found = find(node.object, "metadata", of);
    return found == nullptr || found->empty();
  }
  static std::string theirs() { return dump_json(*parse_json(kTheirs)); }
  std::vector<std::string> reasons() const {
    std::vector<std::string> out;
    for (const Sent& sent : record) {
      if (sent.call == Call::Event) out.push_back(string_at(*parse_json(sent.body), "reason"));
    }
    return out;
  }
};

}  // namespace

TEST_CASE("a soft taint is one annotation and one PreferNoSchedule, and its withdrawal takes both away") {
  Marked w(1);
  w.take(w.drain->mark(w.saved(kube::Mark::SoftTaint, w.now + 1h), w.now));
  w.settle();
  CHECK_FALSE(w.cordoned());
  CHECK(w.node.writes == 2);
  REQUIRE(w.node.object["spec"]["taints"].size() == 2);
  CHECK(w.node.object["spec"]["taints"][1] == Json{{"key", kube::kSoftTaint}, {"effect", "PreferNoSchedule"}});
  CHECK(w.none("labels"));
  CHECK(read_saved_drain(string_at(w.node.object, "metadata", "annotations", kube::kAnnotation))->mark ==
        kube::Mark::SoftTaint);
  w.take(w.drain->withdraw(w.now));
  w.settle();
  CHECK(w.untouched());
  CHECK(w.drain->unmarked());
}

TEST_CASE("a cordon leaves the pods and the load balancers alone, and is told by Events") {
  Marked w(2);
  w.take(w.drain->mark(w.saved(kube::Mark::Cordon, w.now + 1h), w.now));
  w.settle();
  CHECK(w.cordoned());
  CHECK(w.taints() == Marked::theirs());
  CHECK(w.none("labels"));
  for (const Call call : {Call::Watch, Call::List, Call::WatchNode, Call::Evict, Call::Delete})
    CHECK(w.count(call) == 0);
  w.take(w.drain->withdraw(w.now));
  w.settle();
  CHECK(w.untouched());
  CHECK(w.reasons() == std::vector<std::string>{"Cordon", "Uncordon"});
}

TEST_CASE("marks that an earlier life left are taken away at their expiry, unless their notice is heard again") {
  Marked w(3);
  w.take(w.drain->mark(w.saved(kube::Mark::Cordon, w.now + 1h), w.now, false));
  w.settle(59min);
  CHECK(w.cordoned());
  SECTION("not heard") {
    w.settle(2min);
    CHECK(w.untouched());
  }
  SECTION("heard") {
    w.take(w.drain->mark(w.saved(kube::Mark::Cordon, w.now + 1h), w.now));
    w.settle(2min);
    CHECK(w.cordoned());
  }
}

TEST_CASE("a person's notice that only cordoned is taken back by the next life of the agent") {
  Marked w(11);
  SavedDrain saved = w.saved(kube::Mark::Cordon, w.now + 1h);
  CHECK_FALSE(w.drain->marks_by_hand());
  SECTION("by hand") {
    saved.notice.source = kManual;
    w.take(w.drain->mark(saved, w.now, false));
    w.settle();
    REQUIRE(w.cordoned());
    CHECK(w.drain->marks_by_hand());
    w.take(w.drain->withdraw(w.now));
    w.settle();
    CHECK(w.untouched());
    CHECK_FALSE(w.drain->marks_by_hand());
  }
  SECTION("a cloud's is not a person's to take back") {
    w.take(w.drain->mark(saved, w.now, false));
    w.settle();
    CHECK_FALSE(w.drain->marks_by_hand());
  }
}

TEST_CASE("marks that are gone already are told as taken away, once") {
  Marked w(12);
  w.take(w.drain->mark(w.saved(kube::Mark::Cordon, w.now + 1h), w.now));
  w.settle();
  w.node.person(false);  // the second time it is left
  w.node_changed();
  w.settle();
  w.node.object["metadata"].erase("annotations");
  w.node.person(false);
  w.drain->take_facts();
  w.take(w.drain->withdraw(w.now));
  w.settle();
  std::size_t told = 0;
  for (const Fact& fact : w.drain->take_facts())
    told += fact.kind == Fact::Kind::Unmarked;
  CHECK(told == 1);
  CHECK(w.drain->unmarked());
}

TEST_CASE("a Node object that goes while its taint is on the way is cordoned when it comes back") {
  World w(13);
  w.pods = {pod(0)};
  w.faults.latency = 1s;
  w.noticed = w.now;
  w.deadline = w.now + 60s;
  w.take(w.drain->start(w.notice("n"), w.now));
  w.later(1500ms, [&w] {
    CHECK(w.drain->cordoned());
    CHECK(w.count(Call::Taint) == 1);
    return w.drain->tick(w.now);
  });
  w.node_away(1500ms, 8s);
  w.turn();
  CHECK(bool_at(w.node.object, "spec", "unschedulable"));
  CHECK(w.node.object["spec"]["taints"].size() == 1);
}

TEST_CASE("a cordon that somebody else set before stays") {
  Marked w(4);
  w.node.person(true);
  w.take(w.drain->mark(w.saved(kube::Mark::Cordon, w.now + 1h), w.now));
  w.settle();
  w.take(w.drain->withdraw(w.now));
  w.settle();
  CHECK(w.cordoned());
  CHECK(w.none("annotations"));
}

TEST_CASE("a stronger mark is added at once, a weaker one comes after the stronger went") {
  Marked w(5);
  w.take(w.drain->mark(w.saved(kube::Mark::SoftTaint, w.now + 1h, "advice"), w.now));
  w.settle();
  w.take(w.drain->mark(w.saved(kube::Mark::Cordon, w.now + 1h, "stop"), w.now));
  w.settle();
  CHECK(w.cordoned());
  CHECK(w.count(Call::Unmark) == 0);
  w.take(w.drain->mark(w.saved(kube::Mark::SoftTaint, w.now + 1h, "advice"), w.now));
  w.settle();
  CHECK_FALSE(w.cordoned());
  CHECK(w.count(Call::Unmark) == 1);
  CHECK(w.node.object["spec"]["taints"].size() == 2);
  w.take(w.drain->withdraw(w.now));
  w.settle();
  CHECK(w.untouched());
}

TEST_CASE("a drain in place of a cordon and back: the first call cordons, the pods that were not told stay") {
  Marked w(6);
  w.pods[0].budget = true;
  w.take(w.drain->mark(w.saved(kube::Mark::Cordon, w.now + 1h, "stop"), w.now));
  w.settle();
  w.noticed = w.now;
  w.deadline = w.now + 120s;
  w.take(w.drain->start(w.notice("spot"), w.now));
  w.turn(-110s);
  CHECK(w.count(Call::Evict) > 0);
  CHECK(string_at(w.node.object, "metadata", "labels", kube::kExcludeLabel) == "lastlight");
  const std::size_t evictions = w.count(Call::Evict);
  w.take(w.drain->mark(w.saved(kube::Mark::Cordon, w.now + 1h, "stop"), w.now));
  w.settle(2min);
  CHECK(w.count(Call::Evict) == evictions);
  CHECK(w.count(Call::Delete) == 0);
  CHECK(w.cordoned());
  CHECK(w.none("labels"));
  CHECK(w.taints() == Marked::theirs());
  w.take(w.drain->withdraw(w.now));
  w.settle();
  CHECK(w.untouched());
}

TEST_CASE("what the API server denies, or answers late, leaves nothing behind") {
  Marked w(7);
  w.node.forbidden = true;
  w.take(w.drain->mark(w.saved(kube::Mark::SoftTaint, w.now + 1h), w.now));
  w.settle(1min);
  CHECK(w.node.writes < 15);
  w.node.forbidden = false;
  w.take(w.drain->withdraw(w.now));
  w.settle();
  CHECK(w.untouched());
  // Withdrawn before the answer.
  w.take(w.drain->mark(w.saved(kube::Mark::Cordon, w.now + 1h, "other"), w.now));
  w.now += 1ms;
  w.take(w.drain->withdraw(w.now));
  w.settle();
  CHECK(w.untouched());
}

TEST_CASE("every kind's notice is told once, by the words that alerts know, as soon as the server was heard") {
  Marked w(8);
  const std::map<NoticeKind, std::string> reasons = {
      {NoticeKind::SpotTerminate, "SpotInterruption"}, {NoticeKind::SpotStop, "SpotInterruption"},
      {NoticeKind::SpotHibernate, "SpotInterruption"}, {NoticeKind::Preempt, "SpotInterruption"},
      {NoticeKind::Terminate, "ScheduledEvent"},       {NoticeKind::AsgTerminate, "ASGLifecycle"},
      {NoticeKind::Reboot, "ScheduledEvent"},          {NoticeKind::Redeploy, "ScheduledEvent"},
      {NoticeKind::Maintenance, "ScheduledEvent"},     {NoticeKind::Rebalance, "RebalanceRecommendation"},
      {NoticeKind::Freeze, "ScheduledEvent"},          {NoticeKind::LiveMigration, "ScheduledEvent"}};
  REQUIRE(reasons.size() == kNoticeKinds);
  std::vector<std::string> expected;
  for (const auto& [kind, reason] : reasons) {
    w.take(w.drain->tell_notice(
        {.kind = kind, .deadline = kNever, .id = std::to_string(expected.size()), .source = "x"}, w.now));
    expected.push_back(reason);
  }
  w.settle();
  CHECK(w.reasons().empty());
  w.take(w.drain->hear({.status = 200, .headers = {{"Date", kDate}}, .body = {}, .error = {}}, w.now));
  w.settle();
  CHECK(w.reasons() == expected);
  for (const World::Sent& sent : w.record)
    CHECK(string_at(*parse_json(sent.body), "involvedObject", "kind") == "Node");
  // Over the life of an agent there are more than may wait at once.
  for (int i = 0; i < 300; ++i) {
    w.take(w.drain->tell_notice({.kind = NoticeKind::Freeze, .id = "f" + std::to_string(i), .source = "x"}, w.now));
    w.settle(1s);
  }
  CHECK(w.drain->counters().events_over_bound == 0);
}
