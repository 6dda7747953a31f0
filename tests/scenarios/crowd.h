// Many nodes that end together before one API server with so much processor and no more, in virtual time: 11 pods each
// and one whose budget never allows (a few nodes have 110). Requests wait in queues, one for each flow (API Priority
// and Fairness: KEP-1040), which take turns for a seat; what is given up in a queue costs nothing, what has a seat all
// of it. `make bench-scale` is the same with a real one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "interrupt/drain.h"

namespace lastlight::test {

using namespace interrupt;
using namespace std::chrono_literals;

class Crowd {
 public:
  static constexpr std::size_t kPods = 12, kLarge = 110, kLargeNodes = 4, kSeats = 45;
  static constexpr auto kWindow = 60s, kWithin = 10s, kEnds = 1s;
  static constexpr std::int64_t kGrace = 30, kGuardedGrace = 15;

  struct Telling {
    Instant due{};  // D
    Instant told{kNever};
    bool guarded = false;
  };

  Crowd(std::size_t nodes, Duration cost) : cost_(cost), nodes_(nodes) {
    for (std::size_t i = 0; i < nodes; ++i) {
      Node& node = nodes_[i];
      node.drain = std::make_unique<Drain>("node", policy_, server_, [this] { return draw_(random_); });
      const std::size_t pods = i < kLargeNodes ? kLarge : kPods;
      const Instant noticed = now_ + i * (Duration(kWithin) / static_cast<Duration::rep>(nodes));
      for (std::size_t pod = 0; pod < pods; ++pod) {
        const bool guarded = pod + 1 == pods;
        const auto grace = std::chrono::seconds(guarded ? kGuardedGrace : kGrace);
        node.pods["p" + std::to_string(pod)] = {.due = noticed + kWindow - policy_.margin - grace, .guarded = guarded};
      }
      at(noticed, [this, i] { begin(i); });
    }
  }

  void run() {
    const Instant until = now_ + kWithin + kWindow;
    while (!events_.empty() && events_.begin()->first < until) {
      const auto next = events_.extract(events_.begin());
      now_ = next.key();
      next.mapped()();
    }
  }

  std::vector<Telling> tellings() const {
    std::vector<Telling> out;
    for (const Node& node : nodes_) {
      for (const auto& [name, telling] : node.pods)
        out.push_back(telling);
    }
    return out;
  }

  std::size_t requests = 0, refused = 0, given_up = 0;

 private:
  struct Node {
    std::unique_ptr<Drain> drain;
    std::map<std::string, Telling> pods;
    std::uint64_t watch = 0;
    std::set<std::uint64_t> cancelled;
    Instant wake = kNever;
  };
  struct Waiting {
    std::size_t node;
    Order order;
    bool over = false;  // nobody waits for it any more
  };

  void at(Instant when, std::function<void()> what) { events_.emplace(when, std::move(what)); }

  void begin(std::size_t node) {
    SavedDrain saved;
    saved.notice.id = "n";
    saved.notice.deadline = now_ + kWindow;
    saved.noticed = now_;
    saved.node = "node";
    saved.boot = "b";
    take(node, nodes_[node].drain->start(saved, now_));
  }

  void take(std::size_t index, const DrainStep& step) {
    Node& node = nodes_[index];
    node.wake = step.wake;
    if (step.wake != kNever) {
      at(step.wake, [this, index, wake = step.wake] {
        if (nodes_[index].wake == wake) take(index, nodes_[index].drain->tick(now_));
      });
    }
    node.cancelled.insert(step.cancel.begin(), step.cancel.end());
    for (const Order& order : step.orders)
      ask(index, order);
  }

  static std::string name_of(const Order& order) {
    constexpr std::string_view kBefore = "/pods/";
    const std::size_t from = order.request.url.find(kBefore);
    if (from == std::string::npos) return {};
    const std::string name = order.request.url.substr(from + kBefore.size());
    return name.substr(0, name.find_first_of("/?"));
  }

  static std::string flow_of(Call call) {
    if (ends_a_pod(call) || call == Call::Mark) return "pods";
    return call == Call::Event ? "events" : "nodes";
  }

  void ask(std::size_t node, const Order& order) {
    ++requests;
    const auto waiting = std::make_shared<Waiting>(Waiting{.node = node, .order = order});
    queues_[flow_of(order.call)].push_back(waiting);
    if (!streams(order.call)) at(now_ + order.request.timeout, [this, waiting] { give_up(*waiting); });
    seat();
  }

  void give_up(Waiting& waiting) {
    if (std::exchange(waiting.over, true)) return;
    ++given_up;
    reply(waiting, {.status = 0, .headers = {}, .body = {}, .error = "timed out"});
  }

  // Each flow in its turn.
  void seat() {
    while (seated_ < kSeats) {
      auto flow = queues_.upper_bound(last_flow_);
      if (flow == queues_.end()) flow = queues_.begin();
      if (flow == queues_.end()) return;
      last_flow_ = flow->first;
      const auto next = flow->second.front();
      flow->second.pop_front();
      if (flow->second.empty()) queues_.erase(flow);
      if (next->over) continue;
      ++seated_;
      free_at_ = std::max(free_at_, now_) + cost_;
      at(free_at_, [this, next] {
        --seated_;
        const HttpReply answer = serve(next->node, next->order);
        if (!std::exchange(next->over, true)) reply(*next, answer);
        seat();
      });
    }
  }

  void reply(const Waiting& waiting, const HttpReply& answer) {
    Node& node = nodes_[waiting.node];
    if (node.cancelled.contains(waiting.order.id)) return;
    if (waiting.order.call == Call::WatchNode) return;
    if (waiting.order.call == Call::Watch) {
      node.watch = waiting.order.id;
      return take(waiting.node, node.drain->on_watch_bytes(waiting.order.id, changed(node), now_));
    }
    take(waiting.node, node.drain->on_reply(waiting.order.id, answer, now_));
  }

  HttpReply serve(std::size_t index, const Order& order) {
    constexpr const char* kRefusal =
        R"({"kind":"Status","code":429,"message":"no","details":{"causes":[{"reason":"DisruptionBudget"}]}})";
    if (ends_a_pod(order.call)) {
      const std::string name = name_of(order);
      Telling& telling = nodes_[index].pods.at(name);
      if (order.call == Call::Evict && telling.guarded && telling.told == kNever) {
        ++refused;
        return {.status = 429, .headers = {}, .body = kRefusal, .error = {}};
      }
      if (telling.told == kNever) {
        telling.told = now_;
        at(now_ + kEnds, [this, index, line = line_of("DELETED", name, telling)] {
          Node& node = nodes_[index];
          if (node.watch != 0) take(index, node.drain->on_watch_bytes(node.watch, line, now_));
        });
      }
    }
    if (order.call == Call::List) return {.status = 200, .headers = {}, .body = listed(nodes_[index]), .error = {}};
    return {.status = 200, .headers = {}, .body = R"({"metadata":{"name":"node"}})", .error = {}};
  }

  static Json pod_of(const std::string& name, const Telling& telling) {
    Json pod = {{"metadata", Json{{"namespace", "shop"}, {"name", name}, {"uid", name}}},
                {"spec", Json{{"terminationGracePeriodSeconds", telling.guarded ? kGuardedGrace : kGrace}}},
                {"status", Json{{"phase", "Running"}}}};
    if (telling.told != kNever) {
      pod["metadata"]["deletionTimestamp"] = "2017-09-18T08:22:00Z";
      pod["metadata"]["deletionGracePeriodSeconds"] = kGuardedGrace;
    }
    return pod;
  }

  static std::string line_of(const char* type, const std::string& name, const Telling& telling) {
    return dump_json(Json{{"type", type}, {"object", pod_of(name, telling)}}) + "\n";
  }

  static std::string listed(const Node& node) {
    Json items = Json::array();
    for (const auto& [name, telling] : node.pods)
      items.push_back(pod_of(name, telling));
    return dump_json(Json{{"metadata", Json{{"resourceVersion", "5"}}}, {"items", items}});
  }

  // Since the list.
  std::string changed(const Node& node) const {
    std::string lines;
    for (const auto& [name, telling] : node.pods) {
      if (telling.told != kNever)
        lines += line_of(telling.told + kEnds <= now_ ? "DELETED" : "MODIFIED", name, telling);
    }
    return lines;
  }

  const Duration cost_;
  DrainConfig policy_;
  kube::Server server_{"https://api:443", "t"};
  std::mt19937_64 random_{1};
  std::uniform_real_distribution<double> draw_{0, 1};
  Instant now_{1h}, free_at_{};
  std::multimap<Instant, std::function<void()>> events_;
  std::map<std::string, std::deque<std::shared_ptr<Waiting>>> queues_;  // by flow; none is empty
  std::string last_flow_;
  std::size_t seated_ = 0;
  std::vector<Node> nodes_;
};

}  // namespace lastlight::test
