// Who goes first where the API server is so slow that requests wait for each other, in the world of drain_world.h.
#include "tests/scenarios/drain_world.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace lastlight::test;
using namespace std::chrono_literals;

namespace {

Instant last_safe(const World& w, const ModelPod& p) {
  kube::Pod pod;
  pod.grace_seconds = p.grace;
  return delete_at(pod, {w.noticed, w.deadline}, w.policy);
}

}  // namespace

TEST_CASE("a DELETE at its last safe instant goes ahead of evictions that have time") {
  World w(1);
  w.faults.latency = 1s;
  for (int i = 0; i < 60; ++i)
    w.pods.push_back(pod(i, 5));  // D is 22 s after the notice
  for (int i = 60; i < 63; ++i) {
    w.pods.push_back(pod(i, 60));  // and 5 s after it
    w.pods.back().budget = true;
  }
  w.run(30s);
  unsigned evicted_after = 0;
  for (const ModelPod& p : w.pods) {
    INFO(p.name);
    CHECK(p.by_delete == p.budget);
    CHECK(p.told_grace >= 5);
    if (p.budget) CHECK(p.told_at - last_safe(w, p) <= 1s);  // until a place is free
    evicted_after += !p.budget && p.told_at > w.noticed + 6s ? 1U : 0U;
  }
  CHECK(evicted_after > 10);  // there was somebody to go ahead of
}

TEST_CASE("of first evictions the one goes first whose D is nearest, and a repeated one last") {
  World w(2);
  w.faults.latency = 1s;
  w.pods = {pod(0, 600)};
  w.pods[0].budget = true;
  for (int i = 1; i < 20; ++i)
    w.pods.push_back(pod(i, 5 + i));
  w.run(120s);
  std::vector<Instant> first(20);
  for (std::size_t i = 2; i < 20; ++i)
    first[i] = w.pods[i].told_at;  // p0 and p1 leave before the list has shown the others
  CHECK(std::ranges::is_sorted(first.rbegin(), first.rend() - 2));
  unsigned repeated = 0;
  for (const World::Sent& sent : w.record) {
    const bool of_the_refused = sent.call == Call::Evict && sent.path.find("/pods/p0/") != std::string::npos;
    if (of_the_refused && sent.at < first[2]) ++repeated;
  }
  CHECK(repeated == 1);  // its first
}

TEST_CASE("what only tells is never ahead of what ends pods, not by holding its place either") {
  World w(3);  // World::take() holds each step to the order
  w.faults.events_hang = true;
  for (int i = 0; i < 40; ++i) {
    w.pods.push_back(pod(i, 10 + i));  // a DELETE each second, and an Event that tells of it
    w.pods.back().budget = true;
  }
  w.run(60s);
  for (const ModelPod& p : w.pods) {
    INFO(p.name);
    CHECK(p.by_delete);
    CHECK(p.markings == 1);
    CHECK(p.told_at - last_safe(w, p) <= 20ms);
  }
  CHECK(w.count(Call::Event) > 4);  // more than may hang at once: they were tried
}
