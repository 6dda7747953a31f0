// What a drain says of what it could not do: facts, and Events on the node, in the world of drain_world.h.
#include <algorithm>
#include <string>
#include <vector>

#include "tests/scenarios/drain_world.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace lastlight::test;
using namespace std::chrono_literals;

namespace {

std::vector<std::string> said(World& w, Fact::Kind kind) {
  std::vector<std::string> out;
  for (const Fact& fact : w.drain->take_facts()) {
    if (fact.kind == kind) out.push_back(fact.subject + ": " + fact.text);
  }
  return out;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("a pod that terminates already with a grace past T is sent nothing, and the report says so") {
  World w(1);
  w.pods = {pod(0)};
  w.pods[0].terminating = true;
  w.pods[0].told_grace = 120;  // it ends two minutes after the first reply, whose Date tells the server's clock
  w.run(60s);
  CHECK(w.count(Call::Evict) + w.count(Call::Delete) + w.count(Call::Mark) == 0);
  CHECK(said(w, Fact::Kind::Outlives) == Texts{"shop/p0: it terminates with a grace that ends 61 s after the node"});
}

TEST_CASE("a pod in a namespace that terminates is deleted at D, one that terminates with it is left alone") {
  World w(2);
  w.faults.namespace_ends = true;
  w.pods = {pod(0), pod(1)};
  w.pods[1].terminating = true;
  w.pods[1].told_grace = 15;
  w.run(60s);
  CHECK(w.pods[0].by_delete);
  CHECK(w.pods[0].told_grace == 15);
  CHECK(w.pods[1].evictions + w.pods[1].deletes == 0);
}

TEST_CASE("what was lost, and to what, is named at the end") {
  World w(3);
  w.pods = {pod(0)};
  SECTION("to a right that is missing") {
    w.faults.forbid_evict = w.faults.forbid_delete = true;
    w.run(60s);
    const Texts lost = said(w, Fact::Kind::NeverTold);
    REQUIRE(lost.size() == 1);
    CHECK(lost[0].starts_with("shop/p0: 403"));
  }
  SECTION("to an API server that is away") {
    w.faults.down_from = w.now;
    w.faults.down_to = w.now + 60s;
    w.run(60s);
    const Texts ended = said(w, Fact::Kind::Ended);
    REQUIRE(ended.size() == 1);
    CHECK(ended[0].ends_with("; the pods were never listed"));
  }
}

TEST_CASE("a node that may not be marked is told of by an Event, and its pods are told all the same") {
  World w(4);
  w.node.forbidden = true;
  w.pods = {pod(0)};
  w.run(60s);
  CHECK(w.pods[0].told_grace == 15);
  CHECK(std::ranges::any_of(w.record, [](const World::Sent& sent) {
    return sent.call == Call::Event && string_at(*parse_json(sent.body), "reason") == "CordonError";
  }));
}

TEST_CASE("told is not the same as SIGTERM: hooks and sidecars are named beside the grace") {
  World w(5);
  w.pods = {pod(0), pod(1)};
  w.pods[0].pre_stop = 5s;
  w.pods[1].sidecar_stops_in = 4s;
  w.run(60s);
  const Texts evicted = said(w, Fact::Kind::Evicted);
  REQUIRE(evicted.size() == 2);
  CHECK(evicted[0] == "shop/p0: grace 15 s, its preStop hook comes before SIGTERM");
  CHECK(evicted[1] == "shop/p1: grace 15 s, its sidecars get SIGTERM last");
}
