// A drain, scene by scene, in the world of drain_world.h.
#include "tests/scenarios/drain_world.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace lastlight::test;
using namespace std::chrono_literals;

TEST_CASE("42 pods in a 60 s window: cordon first, all evicted at once, refused ones deleted at D with full grace") {
  World w(1);
  for (int i = 0; i < 42; ++i) {
    w.pods.push_back(pod(i));
    w.pods.back().budget = i < 5;
  }
  for (int i = 42; i < 47; ++i) {
    w.pods.push_back(pod(i));
    w.pods.back().owner = "DaemonSet";
  }
  w.run(60s);
  CHECK(w.record.at(0).call == Call::Cordon);
  CHECK(w.record.at(0).at == w.noticed);
  CHECK(w.record.at(0).body.find("taints") == std::string::npos);
  CHECK(w.record.at(1).call == Call::List);
  CHECK(w.record.at(1).at == w.noticed);
  for (int i = 0; i < 42; ++i) {
    const ModelPod& p = w.pods[static_cast<std::size_t>(i)];
    INFO(p.name);
    CHECK(p.told_grace == 15);
    if (i < 5) {
      CHECK(p.by_delete);
      CHECK(p.told_at >= w.deadline - 18s);
      CHECK(p.told_at <= w.deadline - 17s);
      CHECK(p.deletes == 1);
    } else {
      CHECK_FALSE(p.by_delete);
      CHECK(p.told_at - w.noticed < 1s);
      CHECK(p.evictions == 1);
    }
  }
  CHECK(w.count(Call::Delete) == 5);
  CHECK(w.count(Call::Cordon) == 1);
  CHECK(w.count(Call::Taint) == 1);
  CHECK(w.count(Call::Event) == 7);  // two of the node, one for each pod whose budget was overridden
  CHECK(w.record.size() <= 42 + 12 + w.drain->counters().evictions_refused + 5 * 3);
  CHECK(w.drain->drained());
}

TEST_CASE("a budget that opens in time is never overridden") {
  World w(2);
  w.pods = {pod(0), pod(1)};
  for (ModelPod& p : w.pods)
    p.budget = true;
  w.pods[0].opens = w.now + 20s;
  w.run(120s);
  CHECK_FALSE(w.pods[0].by_delete);
  CHECK(w.pods[0].told_at - w.noticed < 26s);
  CHECK(w.pods[1].by_delete);
}

TEST_CASE("terminating, finished and mirror pods are sent nothing") {
  World w(3);
  w.pods = {pod(0), pod(1), pod(2), pod(3), pod(4)};
  w.pods[0].terminating = true;
  w.pods[0].told_grace = 600;
  w.pods[1].phase = "Succeeded";
  w.pods[2].phase = "Failed";
  w.pods[3].mirror = true;
  w.run(60s);
  CHECK(w.count(Call::Evict) == 1);
  CHECK(w.count(Call::Delete) == 0);
  CHECK(w.drain->pods().at("u0").fate == Fate::Told);
  CHECK(w.drain->all_told());
}

TEST_CASE("the pods come in pages, then by a watch") {
  World w(4);
  for (int i = 0; i < 250; ++i)
    w.pods.push_back(pod(i));
  w.run(60s);
  CHECK(w.count(Call::List) == 3);
  CHECK(w.count(Call::Watch) == 1);
  for (const ModelPod& p : w.pods)
    CHECK(p.told_grace == 15);
  CHECK(w.drain->drained());
}

TEST_CASE("history lost on resuming lists again") {
  World w(5);
  w.faults.gone_410 = true;
  w.faults.watch_break = 0.2;
  for (int i = 0; i < 30; ++i)
    w.pods.push_back(pod(i));
  w.run(60s);
  CHECK(w.drain->counters().relists >= 1);
  for (const ModelPod& p : w.pods)
    CHECK(p.told_grace >= 1);
}

TEST_CASE("an API server that is down for 20 s of the window costs 20 s, not the drain") {
  World w(6);
  for (int i = 0; i < 60; ++i) {
    w.pods.push_back(pod(i));
    w.pods.back().never = i < 3;
  }
  w.faults.down_from = w.now;
  w.faults.down_to = w.now + 20s;
  w.run(60s);
  for (const ModelPod& p : w.pods) {
    CHECK(p.told_grace == 15);
    if (!p.never) CHECK(p.told_at - w.noticed < 27s);
  }
  CHECK(w.drain->cordoned());
}

TEST_CASE("an API server that answers each request three seconds late is slow, not silent") {
  World w(23);
  w.faults.latency = 3s;
  for (int i = 0; i < 20; ++i) {
    w.pods.push_back(pod(i));
    w.pods.back().budget = i < 3;
  }
  w.run(60s);
  for (const ModelPod& p : w.pods) {
    CHECK(p.told_grace >= (p.budget ? 14 : 15));  // an eviction may be on its way at D
    CHECK(p.by_delete == p.budget);
  }
  CHECK(w.drain->drained());
}

TEST_CASE("a short window and a busy API server: what is slow is not given up again and again") {
  World w(24);
  w.faults.latency = 1500ms;
  for (int i = 0; i < 40; ++i)
    w.pods.push_back(pod(i, 30));
  w.run(15s);
  std::size_t evictions = 0;
  for (const ModelPod& p : w.pods) {
    CHECK(p.told_grace >= 1);
    CHECK_FALSE(p.by_delete);
    evictions += p.evictions;
  }
  CHECK(evictions == w.pods.size());
}

TEST_CASE("what is forbidden is told once and the rest goes on") {
  World w(7);
  w.pods = {pod(0), pod(1)};
  SECTION("cordon") {
    w.node.forbidden = true;
    w.run(60s);
    CHECK(w.count(Call::Cordon) ==
          10);  // an API server that has just started denies what it has not read the roles for
    CHECK(w.pods[0].told_grace == 15);
  }
  SECTION("eviction: DELETE at D") {
    w.faults.forbid_evict = true;
    w.run(60s);
    CHECK(w.count(Call::Evict) == 2);
    CHECK(w.pods[0].by_delete);
  }
  SECTION("both") {
    w.faults.forbid_evict = w.faults.forbid_delete = true;
    w.run(60s);
    CHECK(w.count(Call::Delete) == 2);
    CHECK(w.drain->pods().at("u0").fate == Fate::Forbidden);
    CHECK_FALSE(w.drain->all_told());
  }
}

TEST_CASE("a withdrawn notice stops the drain and takes its marks away, a new one begins again") {
  World w(8);
  w.pods = {pod(0)};
  w.node.object["spec"]["taints"] = Json::array({Json{{"key", "theirs"}, {"effect", "NoSchedule"}}});
  w.noticed = w.now;
  w.deadline = w.now + 60s;
  w.take(w.drain->start(w.notice("n"), w.now));
  w.now += 1ms;  // no reply yet
  const DrainStep stopped = w.drain->withdraw(w.now);
  CHECK_FALSE(stopped.cancel.empty());
  w.take(stopped);
  w.turn();
  CHECK(w.count(Call::Evict) == 0);
  CHECK(w.drain->unmarked());
  CHECK(w.node.object["spec"] == Json{{"taints", Json::array({Json{{"key", "theirs"}, {"effect", "NoSchedule"}}})}});
  CHECK(w.node.object["metadata"]["annotations"].empty());
  CHECK(w.node.object["metadata"]["labels"].empty());
  w.now += 10s;
  w.run(60s);
  CHECK(w.pods[0].told_grace == 15);
  CHECK(w.node.object["spec"]["taints"].size() == 2);
}

TEST_CASE("the node is marked by two writes, and unmarked ten minutes after a T at which it did not end") {
  World w(9);
  w.pods = {pod(0)};
  w.run(60s);
  CHECK(w.node.writes == 2);
  CHECK(bool_at(w.node.object, "spec", "unschedulable"));
  CHECK(string_at(w.node.object, "metadata", "labels", kube::kExcludeLabel) == "lastlight");
  CHECK(read_saved_drain(string_at(w.node.object, "metadata", "annotations", kube::kAnnotation))->notice.id == "n1");
  REQUIRE(w.node.object["spec"]["taints"].size() == 1);
  SECTION("still announced: never") {
    w.turn(20min);
    CHECK(w.count(Call::Unmark) == 0);
  }
  SECTION("withdrawn after T: at T + 10 min, however often it fails") {
    w.take(w.drain->withdraw(w.now));
    w.node.forbidden = true;
    w.turn(15min);
    CHECK(w.count(Call::Unmark) > 3);
    CHECK(w.count(Call::Unmark) < 30);
    w.node.forbidden = false;
    w.turn(20min);
    CHECK(w.drain->unmarked());
    CHECK_FALSE(bool_at(w.node.object, "spec", "unschedulable"));
    CHECK(w.node.object["spec"]["taints"].empty());
  }
}

TEST_CASE("a cordon and taints of others survive everything") {
  World w(10);
  w.pods = {pod(0)};
  w.node.person(true);
  w.node.object["spec"]["taints"] = Json::array({Json{{"key", "theirs"}, {"effect", "NoExecute"}}});
  w.run(30s);
  w.take(w.drain->withdraw(w.now));
  w.turn(11min);
  CHECK(w.drain->unmarked());
  CHECK(bool_at(w.node.object, "spec", "unschedulable"));
  CHECK(w.node.object["spec"]["taints"] == Json::array({Json{{"key", "theirs"}, {"effect", "NoExecute"}}}));
  CHECK(w.node.object["metadata"]["annotations"].empty());
}

TEST_CASE("of a notice that was said by hand the marks go the moment it is taken back, after its end too") {
  World w(78);
  w.pods = {pod(0)};
  w.noticed = w.now;
  w.deadline = w.now + 60s;
  SavedDrain manual = w.notice("manual-1");
  manual.notice.source = "manual";
  w.take(w.drain->start(manual, w.now));
  w.turn();
  w.now = w.deadline + 5s;
  CHECK(bool_at(w.node.object, "spec", "unschedulable"));
  w.take(w.drain->withdraw(w.now));
  w.turn(20s);
  CHECK_FALSE(bool_at(w.node.object, "spec", "unschedulable"));
  CHECK(w.drain->unmarked());
}

TEST_CASE("a person uncordons in mid-drain: once more, then it is left and told") {
  World w(11);
  w.pods = {pod(0, 50)};
  w.pods[0].budget = true;
  for (const Duration at : {20s, 30s, 40s}) {
    w.later(at, [&w] {
      w.node.person(false);
      w.node_changed();
      return w.drain->tick(w.now);
    });
  }
  w.run(120s);
  CHECK(w.count(Call::Cordon) == 2);
  CHECK_FALSE(bool_at(w.node.object, "spec", "unschedulable"));
  std::size_t told = 0;
  for (const Fact& fact : w.drain->take_facts())
    told += fact.kind == Fact::Kind::UncordonedByOther ? 1 : 0;
  CHECK(told == 2);
}

TEST_CASE("the Node object is deleted and made again: the drain goes on and the marks return") {
  World w(12);
  for (int i = 0; i < 5; ++i)
    w.pods.push_back(pod(i));
  w.pods[0].budget = true;
  w.node_away(5s, 15s);
  w.run(60s);
  CHECK(w.pods[0].told_grace == 15);
  CHECK(w.drain->drained());
  CHECK(bool_at(w.node.object, "spec", "unschedulable"));
  CHECK(w.node.object["spec"]["taints"].size() == 1);
}

TEST_CASE("our own DELETE is followed by one marking eviction, an eviction by none") {
  World w(13);
  w.pods = {pod(0), pod(1)};
  w.pods[0].budget = true;
  w.run(60s);
  CHECK(w.pods[0].markings == 1);
  CHECK(w.pods[1].markings == 0);
  CHECK(w.count(Call::Mark) == 1);
}

TEST_CASE("staged: behind a balancer, then stateful, then the rest, then critical; each waits while its own D allows") {
  World w(14);
  w.policy.order = DrainConfig::Order::Staged;
  w.make_drain();
  for (int i = 0; i < 5; ++i)
    w.pods.push_back(pod(i, 20));
  w.pods[0].gates = {"target-health.elbv2.k8s.aws/k8s-shop"};
  w.pods[0].stops_in = 8s;
  w.pods[1].owner = "StatefulSet";
  w.pods[1].stops_in = 8s;
  w.pods[3].priority = 2'000'000'000;
  w.pods[4].annotations["lastlight.io/drain-order"] = "1";
  SECTION("there is time") {
    w.run(120s);
    CHECK(w.pods[0].told_at - w.noticed < 1s);
    CHECK(w.pods[4].told_at - w.noticed < 1s);
    CHECK(w.pods[1].told_at >= w.pods[0].gone_at);
    CHECK(w.pods[2].told_at >= w.pods[1].gone_at);
    CHECK(w.pods[3].told_at >= w.pods[2].gone_at);
  }
  SECTION("there is none: by eviction with the full grace all the same") {
    w.run(30s);
    for (const ModelPod& p : w.pods) {
      CHECK(p.told_grace == 20);
      CHECK_FALSE(p.by_delete);
    }
  }
  CHECK(w.drain->drained());
}

TEST_CASE("a pod that asks not to be disrupted is evicted last, and evicted") {
  World w(15);
  w.pods = {pod(0), pod(1)};
  w.pods[0].annotations["karpenter.sh/do-not-disrupt"] = "true";
  w.pods[1].annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] = "false";
  w.pods[1].budget = true;
  w.run(60s);
  CHECK(w.pods[0].told_at == w.deadline - 19s);
  CHECK_FALSE(w.pods[0].by_delete);
  CHECK(w.pods[0].told_grace == 15);
  CHECK(w.pods[1].by_delete);
  CHECK(w.pods[1].told_grace == 15);
}

TEST_CASE("a pod that comes back past the cordon is evicted once per controller, then left and named") {
  World w(16);
  w.pods = {pod(0), pod(1)};
  w.pods[0].tolerates = true;
  w.run(60s);
  REQUIRE(w.pods.size() == 3);
  CHECK(w.pods[2].evictions + w.pods[2].deletes == 0);
  CHECK(w.drain->pods().at("u0x").fate == Fate::Returned);
  CHECK(w.drain->outcome().returned == 1);
}

TEST_CASE("a pod bound after the list is evicted as well") {
  World w(17);
  w.pods = {pod(0), pod(1)};
  w.pods[1].controller = "c0";
  w.pods[1].binds_in = 4s;
  w.run(60s);
  CHECK(w.pods[1].told_at - w.noticed < 5s);
  CHECK(w.pods[1].told_grace == 15);
}

TEST_CASE("a budget that allows one at a time: two of its pods never terminate together before D") {
  World w(18);
  for (int i = 0; i < 6; ++i) {
    w.pods.push_back(pod(i, 10));
    w.pods.back().group = 1;
  }
  w.run(120s);
  std::ranges::sort(w.pods, {}, &ModelPod::told_at);
  for (std::size_t i = 1; i < w.pods.size(); ++i) {
    if (w.pods[i].by_delete) {
      CHECK(w.pods[i].told_at >= w.deadline - 13s);
    } else {
      CHECK(w.pods[i].told_at >= w.pods[i - 1].gone_at);
    }
    CHECK(w.pods[i].told_grace == 10);
  }
  CHECK_FALSE(w.pods[3].by_delete);
}

TEST_CASE("while the watch is away no name that recurs is evicted, and all are deleted at D at the latest") {
  World w(19);
  w.pods = {pod(0), pod(1)};
  for (ModelPod& p : w.pods)
    p.budget = true;
  w.pods[0].owner = "StatefulSet";
  const Instant away = w.now + 5s;
  w.later(5s, [&w] {  // the list and the watch fail from here on, evictions and deletions do not
    w.faults.no_lists = true;
    if (w.watch) w.reply(w.watch, {.status = 0, .headers = {}, .body = {}, .error = "reset"}, 1ms);
    return w.drain->tick(w.now);
  });
  w.run(60s);
  for (const World::Sent& sent : w.record) {
    if (sent.call == Call::Evict && sent.path.find("/p0/") != std::string::npos) CHECK(sent.at <= away + 1ms);
  }
  CHECK(w.pods[1].evictions > 5);
  for (const ModelPod& p : w.pods) {
    CHECK(p.by_delete);
    CHECK(p.told_grace == 15);
  }
}

TEST_CASE("the kubelet shuts down by itself: every pod is evicted once, nothing is deleted") {
  World w(20);
  w.pods = {pod(0), pod(1)};
  w.pods[1].budget = true;
  w.later(2s, [&w] {
    w.node.object["status"]["conditions"] = Json::array({Json{
        {"type", "Ready"}, {"status", "False"}, {"reason", "KubeletNotReady"}, {"message", "node is shutting down"}}});
    w.node.touch();
    w.node_changed();
    return w.drain->tick(w.now);
  });
  w.later(20s, [&w] {
    w.pods[1].phase = "Failed";
    w.pods[1].reason = "Terminated";
    w.changed(w.pods[1], "MODIFIED");
    return w.drain->tick(w.now);
  });
  w.run(60s);
  CHECK(w.count(Call::Delete) == 0);
  CHECK(w.drain->outcome().never_told == 0);
  CHECK(w.drain->outcome().joined == 1);
}

TEST_CASE("a managed node group that drains the node as well is joined: what it evicts is not evicted again") {
  World w(25);
  w.pods = {pod(0), pod(1), pod(2)};
  w.pods[0].budget = w.pods[1].budget = true;
  w.later(5s, [&w] {  // its eviction came when the budget allowed one, and ours was refused
    ModelPod& evicted = w.pods[0];
    evicted.terminating = true;
    evicted.told_at = w.now;
    evicted.told_grace = evicted.grace;
    w.changed(evicted, "MODIFIED");
    w.stop(evicted);
    return w.drain->tick(w.now);
  });
  w.run(60s);
  CHECK(w.drain->outcome().joined == 1);
  CHECK(w.drain->outcome().deleted == 1);
  CHECK(w.drain->outcome().evicted == 1);
  CHECK(w.pods[0].deletes == 0);
  CHECK(w.pods[0].markings == 0);
  CHECK(w.pods[0].told_grace == 15);
  CHECK(w.drain->drained());
}

TEST_CASE("an API server that says to come back in ten minutes is asked at D all the same") {
  World w(26);
  w.pods = {pod(0), pod(1)};
  w.faults.evict_later = 600;
  w.run(60s);
  for (const ModelPod& p : w.pods) {
    CHECK(p.by_delete);
    CHECK(p.told_grace == 15);
    CHECK(p.told_at - (w.deadline - 18s) < 1s);
    CHECK(p.evictions == 1);
  }
}

TEST_CASE("an agent killed in any phase and started again goes on: nothing twice, nothing forgotten") {
  for (const Duration killed : std::initializer_list<Duration>{0ms, 3ms, 8ms, 14ms, 300ms, 10s, 42s, 42s + 7ms, 50s}) {
    INFO("killed after " << std::chrono::duration_cast<std::chrono::milliseconds>(killed).count() << " ms");
    World w(21);
    for (int i = 0; i < 30; ++i) {
      w.pods.push_back(pod(i));
      w.pods.back().budget = i < 3;
    }
    w.later(killed, [&w] {
      w.restart(2s);
      return w.drain->tick(w.now);
    });
    w.run(60s);
    for (const ModelPod& p : w.pods) {
      CHECK(p.told_grace >= (p.budget ? 13 : 15));
      CHECK(p.deletes == (p.budget ? 1U : 0U));
      CHECK(p.told_at - w.noticed < (p.budget ? 46s : 3s));
      if (p.budget) CHECK(p.told_at >= w.deadline - 18s);
    }
    CHECK(w.node.object["spec"]["taints"].size() == 1);
    CHECK(w.drain->drained());
  }
}

TEST_CASE(
    "a pod that its own hook or sidecar delays is told in time; the report says what was told and not yet ended") {
  World w(22);
  w.pods = {pod(0), pod(1), pod(2, 600)};
  w.pods[0].pre_stop = 5s;
  w.pods[1].sidecar_stops_in = 4s;
  w.pods[2].stops_in = 500s;
  w.run(60s);
  CHECK(w.pods[0].sigterm_at - w.pods[0].told_at == 5s);
  CHECK_FALSE(w.pods[0].killed);
  CHECK_FALSE(w.pods[1].killed);
  CHECK(w.pods[2].killed);
  CHECK(w.pods[2].gone_at <= w.deadline - 2s);
  bool ended = false;
  for (const Fact& fact : w.drain->take_facts()) {
    if (fact.kind != Fact::Kind::Ended) continue;
    ended = true;
    CHECK(fact.text == "3 evicted, 0 deleted, 0 told by others; of those 3 ended and 0 still run; never told 0");
  }
  CHECK(ended);
}
