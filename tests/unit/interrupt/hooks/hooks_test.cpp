// Webhooks in virtual time: receivers with faults, a drain's facts, and the record of what each receiver got.
#include "interrupt/hooks/hooks.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <set>

#include "tests/support/catch.h"
#include "tests/support/random.h"
#include "tests/support/sanitized.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;
using Outcome = Outbox::Outcome;

namespace {

const std::vector<Phase> kAll = {Phase::Notice,  Phase::DrainStarted, Phase::PodRefused, Phase::Progress,
                                 Phase::Drained, Phase::Failed,       Phase::Withdrawn};

struct World {
  struct Got {
    Instant at;
    Phase phase;
    std::uint64_t sequence;
    HookEvent event;
  };
  using Answer = std::function<Outcome(std::size_t receiver, const HookEvent&, Instant)>;

  Hooks hooks;
  Answer answer = [](std::size_t, const HookEvent&, Instant) { return Outcome::Delivered; };
  Duration latency = 20ms;
  Instant now{1h};
  PodCounts pods;
  std::vector<std::vector<Got>> got;
  std::vector<std::size_t> tries;
  std::set<std::size_t> busy;
  struct Later {
    Instant at;
    std::uint64_t order;
    std::function<void()> run;
    bool operator<(const Later& other) const { return std::pair(at, order) > std::pair(other.at, other.order); }
  };
  std::priority_queue<Later> queue;
  std::uint64_t order = 0;

  explicit World(std::vector<Receiver> receivers)
      : hooks(std::move(receivers), 5s, 3s, [] { return 0.5; }),
        got(hooks.receivers().size()),
        tries(hooks.receivers().size()) {}

  void at(Instant when, std::function<void()> run) { queue.push({when, ++order, std::move(run)}); }

  Instant turn() {
    HooksStep step = hooks.advance(pods, now);
    for (const Delivery& delivery : step.deliveries) {
      REQUIRE(busy.insert(delivery.receiver).second);  // one at a time
      ++tries[delivery.receiver];
      at(now + latency, [this, delivery] {
        busy.erase(delivery.receiver);
        const Outcome outcome = answer(delivery.receiver, delivery.event, now);
        if (outcome == Outcome::Delivered)
          got[delivery.receiver].push_back({now, delivery.event.phase, delivery.event.sequence, delivery.event});
        hooks.on_result(delivery.id, outcome, {}, now);
      });
    }
    if (!step.deliveries.empty()) return std::min(step.wake, hooks.advance(pods, now).wake);
    return step.wake;
  }

  void run_until(Instant end) {
    for (std::size_t turns = 0; turns < 100000; ++turns) {
      const Instant wake = turn();
      const Instant next = std::min(wake, queue.empty() ? kNever : queue.top().at);
      if (next > end) {
        now = end;
        return;
      }
      REQUIRE(next >= now);
      now = next;
      while (!queue.empty() && queue.top().at <= now) {
        const Later later = queue.top();
        queue.pop();
        later.run();
      }
    }
    FAIL("the hooks turn on the spot");
  }

  Notice notice(Duration window = 120s, std::string id = "i-1") const {
    Notice out;
    out.deadline = now + window;
    out.id = std::move(id);
    out.source = "aws";
    return out;
  }
  void fact(Fact::Kind kind, std::string subject = "node", std::string text = {}) {
    hooks.on_fact({.kind = kind, .at = now, .subject = std::move(subject), .text = std::move(text)}, now);
  }
  std::vector<Phase> phases(std::size_t receiver = 0) const {
    std::vector<Phase> out;
    for (const Got& each : got[receiver])
      out.push_back(each.phase);
    return out;
  }
};

// A drain of three pods, one refused at first: started at once, all told after 20 s, drained after 30 s.
void small_drain(World& world) {
  const Instant start = world.now;
  world.hooks.on_notice(world.notice(), world.now);
  world.fact(Fact::Kind::Started, "node", "i-1");
  world.at(start + 100ms, [&] {
    world.pods = {.total = 3, .told = 2, .gone = 0, .refused = 1};
    world.fact(Fact::Kind::Evicted, "a/1");
    world.fact(Fact::Kind::Evicted, "a/2");
    world.fact(Fact::Kind::Refused, "a/3");
  });
  for (int s = 1; s < 20; ++s) {
    world.at(start + std::chrono::seconds(s), [&world, s] {
      world.pods.gone = std::min<std::uint64_t>(2, static_cast<std::uint64_t>(s) / 5);
      world.fact(Fact::Kind::Gone, "a/" + std::to_string(s));
    });
  }
  world.at(start + 20s, [&] {
    world.pods = {.total = 3, .told = 3, .gone = 2, .refused = 0};
    world.fact(Fact::Kind::AllTold);
  });
  world.at(start + 30s, [&] {
    world.pods.gone = 3;
    world.fact(Fact::Kind::Drained);
  });
}

}  // namespace

TEST_CASE("every phase is told once, in order, and in time", "[hooks]") {
  World world({{.name = "w", .phases = kAll}, {.name = "few", .phases = {Phase::Drained, Phase::Notice}}});
  const Instant start = world.now;
  small_drain(world);
  world.run_until(start + 200s);
  const auto phases = world.phases();
  REQUIRE(phases.size() >= 6);
  CHECK(phases[0] == Phase::Notice);
  CHECK(phases[1] == Phase::DrainStarted);
  CHECK(phases[2] == Phase::PodRefused);
  CHECK(world.got[0][2].event.refused == std::vector<std::string>{"a/3"});
  CHECK(phases.back() == Phase::Drained);
  CHECK(std::ranges::count(phases, Phase::Drained) == 1);
  CHECK(std::ranges::count(phases, Phase::Progress) >= 3);
  CHECK(std::ranges::count(phases, Phase::Progress) <= 6);  // at most one per 5 s, and one when all were told
  CHECK(world.got[0][0].at - start <= 30ms);
  CHECK(world.got[0].back().at - (start + 30s) <= 30ms);
  CHECK(world.phases(1) == std::vector<Phase>{Phase::Notice, Phase::Drained});
  CHECK(world.hooks.counters(0).delivered == phases.size());
  CHECK(world.hooks.counters(0).failed_tries == 0);
}

TEST_CASE("a receiver that fails for 15 s gets everything once, in order, before the deadline", "[hooks]") {
  World world({{.name = "broken", .phases = kAll}, {.name = "whole", .phases = kAll}});
  const Instant start = world.now;
  world.answer = [&](std::size_t receiver, const HookEvent&, Instant now) {
    return receiver == 0 && now < start + 15s ? Outcome::Failed : Outcome::Delivered;
  };
  small_drain(world);
  world.run_until(start + 200s);
  const auto phases = world.phases(0);
  std::vector<std::uint64_t> sequence;
  for (const auto& each : world.got[0])
    sequence.push_back(each.sequence);
  CHECK(std::ranges::is_sorted(sequence));
  CHECK(std::ranges::adjacent_find(sequence) == sequence.end());
  REQUIRE(phases.size() >= 5);
  CHECK(phases[0] == Phase::Notice);
  CHECK(phases[1] == Phase::DrainStarted);
  CHECK(phases[2] == Phase::PodRefused);
  CHECK(phases.back() == Phase::Drained);
  CHECK(world.got[0][0].at <= start + 15s + Outbox::kRetryMax + 30ms);
  CHECK(world.got[0].back().at < start + 120s);
  CHECK(world.hooks.counters(0).expired == 0);
  CHECK(world.hooks.counters(0).lost == 0);
  CHECK(world.tries[0] < phases.size() + 12);  // backed off
  // The other one did not wait for it.
  CHECK(world.got[1][0].at <= start + 30ms);
  CHECK(world.hooks.counters(1).failed_tries == 0);
}

TEST_CASE("what was not taken by the deadline is given up", "[hooks]") {
  World world({{.name = "dead", .phases = kAll}});
  world.answer = [](std::size_t, const HookEvent&, Instant) { return Outcome::Failed; };
  const Instant start = world.now;
  small_drain(world);
  world.run_until(start + 300s);
  CHECK(world.got[0].empty());
  CHECK(world.hooks.counters(0).expired >= 4);
  CHECK(world.turn() == kNever);
  const auto tries = world.tries[0];
  world.run_until(start + 900s);
  CHECK(world.tries[0] == tries);
}

TEST_CASE("a message that the receiver refuses does not stop those behind it", "[hooks]") {
  World world({{.name = "strict", .phases = kAll}});
  world.answer = [](std::size_t, const HookEvent& event, Instant) {
    return event.phase == Phase::DrainStarted ? Outcome::Refused : Outcome::Delivered;
  };
  const Instant start = world.now;
  small_drain(world);
  world.run_until(start + 200s);
  CHECK(world.hooks.counters(0).refused == 1);
  CHECK(world.hooks.counters(0).failed_tries == Outbox::kTriesOfRefused);
  CHECK(world.phases(0).back() == Phase::Drained);
}

TEST_CASE("a command is started once, whatever comes of it", "[hooks]") {
  World world({{.name = "c", .phases = {Phase::Notice}, .once = true}});
  world.answer = [](std::size_t, const HookEvent&, Instant) { return Outcome::Failed; };
  world.hooks.on_notice(world.notice(), world.now);
  world.run_until(world.now + 200s);
  CHECK(world.tries[0] == 1);
}

TEST_CASE("a drain that cannot tell every pod has failed, a margin before the end", "[hooks]") {
  World world({{.name = "w", .phases = kAll}});
  const Instant start = world.now;
  world.hooks.on_notice(world.notice(), world.now);
  world.fact(Fact::Kind::Started, "node", "i-1");
  world.pods = {.total = 2, .told = 1, .gone = 0, .refused = 1};
  world.run_until(start + 200s);
  CHECK(world.phases().back() == Phase::Failed);
  CHECK(world.got[0].back().at - (start + 117s) <= 30ms);
}

TEST_CASE("a withdrawal is told, and ends the telling of that drain", "[hooks]") {
  World world({{.name = "w", .phases = kAll, .hold = 20s}});
  const Instant start = world.now;
  world.answer = [](std::size_t, const HookEvent&, Instant) { return Outcome::Failed; };
  world.hooks.on_notice(world.notice(), world.now);
  world.hooks.on_notice(world.notice(), world.now);  // restated: not told again
  world.fact(Fact::Kind::Started, "node", "i-1");
  world.run_until(start + 5s);
  CHECK(world.hooks.hold(world.now));
  world.hooks.on_withdrawn({.id = "i-1"}, world.now);
  world.hooks.on_withdrawn({.id = "i-1"}, world.now);
  CHECK_FALSE(world.hooks.hold(world.now));
  world.answer = [](std::size_t, const HookEvent&, Instant) { return Outcome::Delivered; };
  world.fact(Fact::Kind::Gone);
  world.run_until(start + 200s);
  CHECK(world.phases() == std::vector<Phase>{Phase::Notice, Phase::DrainStarted, Phase::Withdrawn});
}

TEST_CASE("evictions are held until the answer, for a bounded time", "[hooks]") {
  World world({{.name = "gateway", .phases = kAll, .hold = 10s}, {.name = "other", .phases = kAll}});
  const Instant start = world.now;
  SECTION("until it answers") {
    world.latency = 2s;
    world.hooks.on_notice(world.notice(), world.now);
    CHECK(world.hooks.hold(world.now) == start + 10s);
    world.run_until(start + 1s);
    CHECK(world.hooks.hold(world.now));
    world.run_until(start + 2s);
    CHECK_FALSE(world.hooks.hold(world.now));
  }
  SECTION("no longer than asked for") {
    world.answer = [](std::size_t, const HookEvent&, Instant) { return Outcome::Failed; };
    world.hooks.on_notice(world.notice(), world.now);
    world.run_until(start + 10s - 1ms);
    CHECK(world.hooks.hold(world.now));
    world.run_until(start + 10s);
    CHECK_FALSE(world.hooks.hold(world.now));
  }
  SECTION("never more than a quarter of what is left") {
    world.hooks.on_notice(world.notice(30s), world.now);
    CHECK(world.hooks.hold(world.now) == start + 7500ms);
  }
  SECTION("not at all once it is over") {
    world.hooks.on_notice(world.notice(-1s), world.now);
    CHECK_FALSE(world.hooks.hold(world.now));
  }
}

TEST_CASE("many refused pods are one event with a bounded list", "[hooks]") {
  World world({{.name = "w", .phases = {Phase::PodRefused}}});
  const Instant start = world.now;
  world.answer = [&](std::size_t, const HookEvent&, Instant now) {
    return now < start + 10s ? Outcome::Failed : Outcome::Delivered;
  };
  world.hooks.on_notice(world.notice(), world.now);
  world.fact(Fact::Kind::Started, "node", "i-1");
  for (int i = 0; i < 90; ++i) {
    world.at(start + i * 100ms, [&world, i] { world.fact(Fact::Kind::Refused, "a/" + std::to_string(i)); });
  }
  world.run_until(start + 60s);
  std::size_t told = 0;
  for (const auto& each : world.got[0]) {
    CHECK(each.event.refused.size() <= HookEvent::kMaxRefused);
    told += each.event.refused.size() + each.event.more_refused;
  }
  CHECK(told == 90);
  CHECK(world.got[0].size() <= 3);
}

TEST_CASE("property: any faults, order holds, nothing is told twice, queues stay bounded", "[hooks]") {
  auto random = test::seeded_random("hooks");
  const int rounds = test::kSanitized ? 40 : 400;
  for (int round = 0; round < rounds; ++round) {
    World world({{.name = "a", .phases = kAll}, {.name = "b", .phases = {Phase::Notice, Phase::Withdrawn}}});
    const double failure = std::uniform_real_distribution<double>(0, 1)(random);
    world.answer = [&](std::size_t, const HookEvent&, Instant) {
      return std::uniform_real_distribution<double>(0, 1)(random) < failure ? Outcome::Failed : Outcome::Delivered;
    };
    const Instant start = world.now;
    const int notices = static_cast<int>(random() % 60);
    for (int i = 0; i < notices; ++i) {
      const std::string id = "i-" + std::to_string(random() % 5);
      const Duration window = std::chrono::milliseconds(random() % 200000);
      const unsigned what = static_cast<unsigned>(random() % 5);
      world.at(start + std::chrono::milliseconds(random() % 100000), [&world, id, window, what] {
        if (what == 0) return world.hooks.on_notice(world.notice(window, id), world.now);
        if (what == 1) return world.hooks.on_withdrawn({.id = id}, world.now);
        world.pods.total = 5;
        world.fact(static_cast<Fact::Kind>(what == 2 ? 0 : what + 2), "a/b", id);
      });
    }
    world.run_until(start + 400s);
    for (std::size_t r = 0; r < 2; ++r) {
      for (std::size_t i = 1; i < world.got[r].size(); ++i)
        REQUIRE(world.got[r][i - 1].sequence < world.got[r][i].sequence);
    }
    REQUIRE(world.turn() == kNever);
  }
}

TEST_CASE("a receiver that is away for long keeps the last phases, and says what it lost", "[hooks]") {
  Outbox outbox;
  const Instant now{1h};
  for (std::uint64_t i = 0; i < 100; ++i) {
    HookEvent event;
    event.phase = i % 2 == 0 ? Phase::Notice : Phase::Withdrawn;
    event.sequence = i;
    outbox.push(event, now + 1h, now);
  }
  CHECK(outbox.size() == Outbox::kMaxEvents);
  CHECK(outbox.counters().lost == 100 - Outbox::kMaxEvents);
  CHECK(outbox.next(now)->sequence == 100 - Outbox::kMaxEvents);
}
