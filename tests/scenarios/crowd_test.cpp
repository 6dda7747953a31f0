// Many nodes at once before one API server that serves so many requests a second, first come, first served, those among
// them that nobody waits for any more: patience and restraint of each decide whether it does anything else.
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "interrupt/drain.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

struct Crowd {
  static constexpr std::size_t kPods = 12;
  static constexpr auto kWindow = 60s;

  explicit Crowd(std::size_t nodes, Duration for_each) : cost(for_each), told(nodes), wakes(nodes, kNever) {
    for (std::size_t i = 0; i < nodes; ++i)
      drains.push_back(std::make_unique<Drain>("node", policy, server, [this] { return draw(random); }));
  }

  void begin(std::size_t node) {
    SavedDrain saved;
    saved.notice.id = "n";
    saved.notice.deadline = now + kWindow;
    saved.noticed = now;
    saved.node = "node";
    saved.boot = "b";
    take(node, drains[node]->start(saved, now));
  }

  void at(Instant when, std::function<void()> what) { events.emplace(when, std::move(what)); }

  void take(std::size_t node, const DrainStep& step) {
    wakes[node] = step.wake;
    if (step.wake != kNever) {
      at(step.wake, [this, node, wake = step.wake] {
        if (wakes[node] == wake) take(node, drains[node]->tick(now));
      });
    }
    for (const Order& order : step.orders) {
      if (order.call == Call::Watch) {
        at(now + 5ms, [this, node, id = order.id] { take(node, drains[node]->on_watch_bytes(id, listed(), now)); });
      } else if (!streams(order.call)) {
        serve(node, order);
      }
    }
  }

  void serve(std::size_t node, const Order& order) {
    ++requests;
    free_at = std::max(free_at, now) + cost;
    const bool waited_for = free_at <= now + order.request.timeout;
    given_up += waited_for ? 0 : 1;
    at(waited_for ? free_at : now + order.request.timeout, [this, node, waited_for, order] {
      HttpReply reply{.status = 0, .headers = {}, .body = {}, .error = "timed out"};
      if (waited_for) {
        reply = {.status = 200, .headers = {}, .body = R"({"metadata":{"name":"node"}})", .error = {}};
        if (order.call == Call::Evict) told[node].insert(order.request.url);
      }
      take(node, drains[node]->on_reply(order.id, reply, now));
    });
  }

  static std::string listed() {
    std::string lines;
    for (std::size_t i = 0; i < kPods; ++i) {
      const std::string name = "p" + std::to_string(i);
      const Json pod = {{"metadata", Json{{"namespace", "shop"}, {"name", name}, {"uid", name}}},
                        {"spec", Json{{"terminationGracePeriodSeconds", 30}}},
                        {"status", Json{{"phase", "Running"}}}};
      lines += dump_json(Json{{"type", "ADDED"}, {"object", pod}});
      lines += '\n';
    }
    const Json end = {{"resourceVersion", "5"}, {"annotations", Json{{"k8s.io/initial-events-end", "true"}}}};
    lines += dump_json(Json{{"type", "BOOKMARK"}, {"object", Json{{"metadata", end}}}});
    lines += '\n';
    return lines;
  }

  void run(Instant until) {
    while (!events.empty() && events.begin()->first < until) {
      const auto next = events.extract(events.begin());
      now = next.key();
      next.mapped()();
    }
  }

  const Duration cost;
  DrainConfig policy;
  kube::Server server{"https://api:443", "t"};
  std::mt19937_64 random{1};
  std::uniform_real_distribution<double> draw{0, 1};
  Instant now{1h}, free_at{};
  std::multimap<Instant, std::function<void()>> events;
  std::vector<std::unique_ptr<Drain>> drains;
  std::vector<std::set<std::string>> told;
  std::vector<Instant> wakes;
  std::size_t requests = 0, given_up = 0;
};

}  // namespace

TEST_CASE("hundreds of nodes end within ten seconds, and the API server serves some hundred requests in one") {
  const auto [nodes, cost] = GENERATE(std::pair<std::size_t, Duration>(100, 12500us),  // 80 a second
                                      std::pair<std::size_t, Duration>(200, 8ms));     // 125
  Crowd crowd(nodes, cost);
  const Instant start = crowd.now;
  for (std::size_t i = 0; i < nodes; ++i)
    crowd.at(start + i * (Duration(10s) / static_cast<Duration::rep>(nodes)), [&crowd, i] { crowd.begin(i); });
  crowd.run(start + 26s);  // before anybody's D
  std::size_t told = 0;
  for (const auto& each : crowd.told)
    told += each.size();
  std::printf("crowd: %zu of %zu pods told in 26 s, %zu requests, %zu of them given up\n", told, nodes * Crowd::kPods,
              crowd.requests, crowd.given_up);
  CHECK(told == nodes * Crowd::kPods);
  CHECK(crowd.given_up == 0);
}
