// Thousands of random nodes in the world of drain_world.h: whatever happens, the rules hold.
#include <cstdio>

#include "tests/scenarios/drain_world.h"
#include "tests/support/random.h"
#include "tests/support/sanitized.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace lastlight::test;
using namespace std::chrono_literals;

TEST_CASE("property: thousands of random nodes, every evictable pod is told in time and by the rules") {
  auto seeds = test::seeded_random("drain property");
  std::size_t evictable = 0, lost = 0, deleted = 0, requests = 0;
  for (int node = 0; node < (test::kSanitized ? 300 : 2000); ++node) {
    const std::uint64_t seed = seeds();
    INFO("node seed " << seed);
    World w(seed);
    const std::int64_t count = w.between(0, w.uniform() < 0.1 ? 110 : 25);
    const Duration window =
        std::chrono::seconds(std::array{120, 60, 30, 20, 15}[static_cast<std::size_t>(w.between(0, 4))]);
    for (int i = 0; i < count; ++i) {
      ModelPod p = pod(i, w.uniform() < 0.1 ? w.between(0, 600) : w.between(0, 40));
      const double kind = w.uniform();
      if (kind < 0.15)
        p.owner = "DaemonSet";
      else if (kind < 0.2)
        p.mirror = true;
      else if (kind < 0.25)
        p.phase = "Succeeded";
      else if (kind < 0.3) {
        p.terminating = true;
        p.told_grace = 30;
      } else if (kind < 0.45)
        p.budget = true;
      else if (kind < 0.5) {
        p.budget = true;
        p.opens = w.now + std::chrono::seconds(w.between(0, 60));
      } else if (kind < 0.55)
        p.never = true;
      else if (kind < 0.65)
        p.owner = "";
      w.pods.push_back(p);
    }
    w.faults.failure = w.uniform() < 0.5 ? 0 : w.uniform() * 0.3;
    w.faults.watch_break = w.uniform() < 0.7 ? 0 : 0.1;
    w.faults.streaming = w.uniform() < 0.7;
    w.faults.gone_410 = w.uniform() < 0.3;
    w.faults.latency = std::chrono::milliseconds(w.between(1, 200));
    w.run(window);
    requests += w.record.size();
    REQUIRE(w.record.at(0).call == Call::Cordon);
    for (const ModelPod& p : w.pods) {
      if (!World::evictable(p)) {
        CHECK(p.evictions + p.deletes == 0);
        continue;
      }
      INFO(p.name << " grace " << p.grace << " budget " << p.budget << " never " << p.never);
      // A server that fails a third of the requests, hanging ones among them, may cost a pod its last chance.
      ++evictable;
      if (p.told_grace < 1) {
        ++lost;
        CHECK(w.faults.failure > 0);
        continue;
      }
      CHECK(p.told_at < w.deadline);
      // No pod's grace reaches into the margin by more than the rounding and the way there.
      if (p.told_at < w.deadline - 4s) CHECK(p.told_at + std::chrono::seconds(p.told_grace) <= w.deadline - 2s);
      if (w.faults.failure == 0 && !p.budget && !p.never) CHECK_FALSE(p.by_delete);
      deleted += p.by_delete;
    }
  }
  std::printf("drain property: 2000 nodes, %zu evictable pods, %zu not told, %zu by DELETE, %zu requests\n", evictable,
              lost, deleted, requests);
  CHECK(lost * 200 <= evictable);  // 0.5 %; only on nodes whose server fails
}
