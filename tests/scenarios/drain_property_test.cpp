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
  std::size_t evictable = 0, lost = 0, deleted = 0, requests = 0, restarts = 0, killed = 0;
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
      else if (kind < 0.75)
        p.group = static_cast<int>(w.between(1, 3));  // a budget that allows one of them at a time
      // Its end takes a hook, its own time and its sidecars' after it.
      if (w.uniform() < 0.3) p.pre_stop = std::chrono::seconds(w.between(1, 20));
      if (w.uniform() < 0.3) p.sidecar_stops_in = std::chrono::seconds(w.between(1, 10));
      p.stops_in = std::chrono::seconds(w.between(0, 20));
      w.pods.push_back(p);
    }
    w.faults.failure = w.uniform() < 0.5 ? 0 : w.uniform() * 0.3;
    w.faults.watch_break = w.uniform() < 0.7 ? 0 : 0.1;
    w.faults.gone_410 = w.uniform() < 0.3;
    w.faults.latency = std::chrono::milliseconds(w.between(1, 200));
    // Killed, and started again from what it had saved.
    const std::int64_t lives = w.uniform() < 0.6 ? 0 : w.between(1, 3);
    for (std::int64_t i = 0; i < lives; ++i) {
      const auto at = std::chrono::milliseconds(
          w.between(0, std::chrono::duration_cast<std::chrono::milliseconds>(window).count() - 1));
      const auto away = std::chrono::milliseconds(w.between(1, 3000));
      w.later(at, [&w, away] {
        w.restart(away);
        return w.drain->tick(w.now);
      });
    }
    restarts += static_cast<std::size_t>(lives);
    w.run(window);
    requests += w.record.size();
    REQUIRE(w.record.at(0).call == Call::Cordon);
    for (const ModelPod& p : w.pods) {
      if (!World::evictable(p)) {
        CHECK(p.evictions + p.deletes == 0);
        continue;
      }
      INFO(p.name << " grace " << p.grace << " budget " << p.budget << " never " << p.never);
      // A server that fails a third of the requests, hanging ones among them, or an agent that is away at the wrong
      // moment may cost a pod its last chance.
      ++evictable;
      if (p.told_grace < 1) {
        ++lost;
        CHECK((w.faults.failure > 0 || lives > 0));
        continue;
      }
      CHECK(p.told_at < w.deadline);
      // No pod's grace reaches into the margin by more than the rounding and the way there.
      if (p.told_at < w.deadline - 4s) CHECK(p.told_at + std::chrono::seconds(p.told_grace) <= w.deadline - 2s);
      const bool fair = w.faults.failure == 0 && lives == 0;
      const bool free = !p.budget && !p.never && p.group == 0;
      if (fair && free) {
        CHECK_FALSE(p.by_delete);
        CHECK(p.told_at - w.noticed < 30 * w.faults.latency + 2s);
      }
      // Who could end in the grace the node allows was not cut off: told early, it had that grace from us.
      const Duration needs = p.pre_stop + p.stops_in + p.sidecar_stops_in;
      const auto left = std::chrono::floor<std::chrono::seconds>(w.deadline - p.told_at - w.policy.margin);
      if (needs < std::min<Duration>(left, std::chrono::seconds(p.grace))) CHECK_FALSE(p.killed);
      killed += p.killed;
      deleted += p.by_delete;
    }
  }
  std::printf(
      "drain property: 2000 nodes, %zu restarts, %zu evictable pods, %zu not told, %zu by DELETE, %zu cut off by their "
      "grace, %zu requests\n",
      restarts, evictable, lost, deleted, killed, requests);
  CHECK(lost * 200 <= evictable);  // 0.5 %; only on nodes whose server fails
}
