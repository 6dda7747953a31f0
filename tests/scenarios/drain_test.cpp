// A drain against a modelled API server in virtual time: one node, its pods, budgets, and faults. The model keeps the
// record the assertions read, so nothing is asked of the drain's own account except at the end.
#include "interrupt/drain.h"

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/random.h"
#include "tests/support/sanitized.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

constexpr const char* kDate = "Mon, 18 Sep 2017 08:20:00 GMT";

struct ModelPod {
  std::string name, uid, owner;
  std::int64_t grace = 30;
  std::string phase = "Running";
  bool mirror = false;
  bool budget = false;             // its budget refuses
  std::optional<Instant> opens{};  // until then
  bool never = false;              // every eviction answers 500, as with two budgets
  bool terminating = false;
  bool gone = false;
  Instant ends{};
  // The record.
  bool terminating_at_start = false;
  Instant told_at{};
  std::int64_t told_grace = -1;
  bool by_delete = false;
  unsigned evictions = 0, deletes = 0;
};

struct Faults {
  double failure = 0;  // of each request: 500, or no reply, or a lost reply of a success
  Instant down_from{}, down_to{};
  bool streaming = true;
  bool forbid_cordon = false, forbid_evict = false, forbid_delete = false;
  double watch_break = 0;  // of each delivered event
  bool gone_410 = false;   // the first resumed watch is told that history is lost
  Duration latency = 5ms;
};

struct World {
  std::mt19937_64 random;
  DrainConfig policy;
  kube::Server server{"https://api:443", "t"};
  std::vector<ModelPod> pods;
  Faults faults;
  Instant now{1h};
  Instant noticed{}, deadline{};
  Drain drain;

  struct Sent {
    Instant at;
    Call call;
    std::string method, path, body;
  };
  std::vector<Sent> record;
  // What happens later: replies and watch lines, in order of time.
  struct Later {
    Instant at;
    std::uint64_t sequence;
    std::function<DrainStep()> run;
  };
  struct After {
    bool operator()(const Later& a, const Later& b) const {
      return std::pair(a.at, a.sequence) > std::pair(b.at, b.sequence);
    }
  };
  std::priority_queue<Later, std::vector<Later>, After> queue;
  std::uint64_t sequence = 0;
  std::set<std::uint64_t> open;  // orders without their reply
  std::uint64_t watch = 0;
  unsigned version = 10;
  Instant wake = kNever;
  std::set<std::string> shown_terminating;  // UIDs whose end was delivered to the drain

  explicit World(std::uint64_t seed, std::string node = "node-a")
      : random(seed), drain(node, policy, server, [this] { return uniform(); }) {}

  double uniform() { return std::uniform_real_distribution<double>(0, 1)(random); }
  std::int64_t between(std::int64_t a, std::int64_t b) {
    return std::uniform_int_distribution<std::int64_t>(a, b)(random);
  }

  static std::string pod_json(const ModelPod& p, unsigned rv) {
    Json json = {{"metadata",
                  {{"namespace", "shop"}, {"name", p.name}, {"uid", p.uid}, {"resourceVersion", std::to_string(rv)}}},
                 {"spec", {{"terminationGracePeriodSeconds", p.grace}, {"nodeName", "node-a"}}},
                 {"status", {{"phase", p.phase}}}};
    if (!p.owner.empty())
      json["metadata"]["ownerReferences"] = Json::array({Json{{"kind", p.owner}, {"name", "o"}, {"controller", true}}});
    if (p.mirror) json["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x";
    if (p.terminating) {
      json["metadata"]["deletionTimestamp"] = "2017-09-18T08:22:00Z";
      json["metadata"]["deletionGracePeriodSeconds"] = p.told_grace;
    }
    return dump_json(json);
  }
  std::string event(const char* type, const ModelPod& p) {
    return std::string(R"({"type":")") + type + R"(","object":)" + pod_json(p, ++version) + "}\n";
  }

  void later(Duration in, std::function<DrainStep()> run) { queue.push({now + in, ++sequence, std::move(run)}); }
  void reply(std::uint64_t id, HttpReply r, Duration in) {
    r.headers.push_back({"Date", kDate});
    later(in, [this, id, r] {
      if (!open.erase(id)) return DrainStep{};
      if (watch == id) watch = 0;
      if (const auto listed = kube::read_pod_page(r.body); r.status == 200 && listed) {
        for (const kube::Pod& p : listed->pods) {
          if (p.terminating) shown_terminating.insert(p.uid);
        }
      }
      return drain.on_reply(id, r, now);
    });
  }
  void deliver(std::uint64_t id, std::string bytes, std::string terminating_uid = {}) {
    later(faults.latency, [this, id, bytes, terminating_uid] {
      if (watch != id) return DrainStep{};
      if (!terminating_uid.empty()) shown_terminating.insert(terminating_uid);
      // Cut anywhere: a network has no lines.
      const auto cut = static_cast<std::size_t>(between(0, static_cast<std::int64_t>(bytes.size())));
      take(drain.on_watch_bytes(id, std::string_view(bytes).substr(0, cut), now));
      return drain.on_watch_bytes(id, std::string_view(bytes).substr(cut), now);
    });
  }
  void changed(const ModelPod& p, const char* type) {
    if (!watch) return;
    deliver(watch, event(type, p), p.terminating ? p.uid : std::string{});
    if (uniform() < faults.watch_break) {
      reply(watch, {.status = 200, .headers = {}, .body = {}, .error = {}}, faults.latency + 1ms);
    }
  }

  bool down() const { return now >= faults.down_from && now < faults.down_to; }

  void take(DrainStep step) {
    wake = step.wake;
    if (step.cancel) {
      open.erase(*step.cancel);
      if (watch == *step.cancel) watch = 0;
    }
    std::ranges::sort(step.orders, {}, [](const Order& order) { return std::pair(order.priority, order.id); });
    for (const Order& order : step.orders)
      serve(order);
  }

  void serve(const Order& order) {
    const std::string path = order.request.url.substr(server.base_url.size());
    record.push_back({now, order.call, order.request.method, path, order.request.body});
    CHECK(now < deadline);
    CHECK(order.request.timeout > 0ns);
    CHECK(now + order.request.timeout <= deadline);
    open.insert(order.id);
    if (down()) return reply(order.id, {.status = 0, .headers = {}, .body = {}, .error = "refused"}, 1ms);
    const bool fails = uniform() < faults.failure;
    const double how = uniform();
    if (fails && how < 0.4)
      return reply(order.id, {.status = 500, .headers = {}, .body = "boom", .error = {}}, faults.latency);
    if (fails && how < 0.6)
      return reply(order.id, {.status = 429, .headers = {{"Retry-After", "1"}}, .body = {}, .error = {}},
                   faults.latency);
    if (fails && how < 0.8)
      return reply(order.id, {.status = 0, .headers = {}, .body = {}, .error = "timed out"}, order.request.timeout);
    HttpReply answer = act(order, path);
    if (answer.status == -1) return;  // a stream
    if (fails) answer = {.status = 0, .headers = {}, .body = {}, .error = "reset after the act"};
    reply(order.id, std::move(answer), faults.latency);
  }

  HttpReply act(const Order& order, const std::string& path) {
    switch (order.call) {
      case Call::Cordon:
        return {.status = faults.forbid_cordon ? 403 : 200, .headers = {}, .body = {}, .error = {}};
      case Call::Event:
        return {.status = 201, .headers = {}, .body = {}, .error = {}};
      case Call::Watch:
        return stream(order, path);
      case Call::List:
        return page(path);
      case Call::Evict:
      case Call::Delete:
        return end(order, path);
    }
    return {};
  }

  HttpReply stream(const Order& order, const std::string& path) {
    const bool initial = path.find("sendInitialEvents=true") != std::string::npos;
    if (initial && !faults.streaming) return {.status = 422, .headers = {}, .body = {}, .error = {}};
    watch = order.id;
    if (!initial && std::exchange(faults.gone_410, false)) {
      deliver(order.id, R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}})"
                        "\n");
      return {.status = -1, .headers = {}, .body = {}, .error = {}};
    }
    // A resumed watch owes every change since; the model sends the state as it is, which says the same.
    for (const ModelPod& p : pods) {
      if (initial && p.gone) continue;
      deliver(order.id,
              event(p.gone    ? "DELETED"
                    : initial ? "ADDED"
                              : "MODIFIED",
                    p),
              p.terminating ? p.uid : std::string{});
    }
    deliver(order.id, R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":")" + std::to_string(++version) +
                          (initial ? R"(","annotations":{"k8s.io/initial-events-end":"true"}}}})" : R"("}}})") + "\n");
    return {.status = -1, .headers = {}, .body = {}, .error = {}};
  }

  HttpReply page(const std::string& path) {
    std::size_t from = 0;
    if (const auto at = path.find("continue="); at != std::string::npos) from = std::stoul(path.substr(at + 9));
    const std::size_t limit = std::stoul(path.substr(path.find("limit=") + 6));
    std::string items;
    std::size_t i = from;
    for (std::size_t n = 0; i < pods.size() && n < limit; ++i) {
      if (pods[i].gone) continue;
      items += (items.empty() ? "" : ",") + pod_json(pods[i], version);
      ++n;
    }
    const std::string next = i < pods.size() ? std::to_string(i) : "";
    return {.status = 200,
            .headers = {},
            .body = R"({"metadata":{"resourceVersion":"5","continue":")" + next + R"("},"items":[)" + items + "]}",
            .error = {}};
  }

  HttpReply end(const Order& order, const std::string& path) {
    std::string name = path.substr(std::string("/api/v1/namespaces/shop/pods/").size());
    name = name.substr(0, name.find('/'));
    const auto found = std::ranges::find_if(pods, [&](const ModelPod& p) { return p.name == name && !p.gone; });
    if (found == pods.end()) return {.status = 404, .headers = {}, .body = {}, .error = {}};
    ModelPod& p = *found;
    const Json body = *parse_json(order.request.body);
    const Json& options = order.call == Call::Evict ? *find(body, "deleteOptions") : body;
    const std::int64_t grace = int_at(options, "gracePeriodSeconds").value_or(-1);
    CHECK(string_at(options, "preconditions", "uid") == p.uid);
    CHECK(grace >= 1);
    CHECK(grace <= std::max<std::int64_t>(1, p.grace));
    CHECK(p.owner != "DaemonSet");
    CHECK_FALSE(p.mirror);
    CHECK_FALSE(shown_terminating.contains(p.uid));
    CHECK((p.phase == "Running" || p.phase == "Pending"));
    (order.call == Call::Evict ? p.evictions : p.deletes) += 1;
    if (order.call == Call::Evict) {
      if (faults.forbid_evict) return {.status = 403, .headers = {}, .body = {}, .error = {}};
      if (p.never) return {.status = 500, .headers = {}, .body = "more than one PodDisruptionBudget", .error = {}};
      if (p.budget && !(p.opens && now >= *p.opens)) {
        return {
            .status = 429,
            .headers = {},
            .body =
                R"({"kind":"Status","code":429,"message":"Cannot evict","details":{"causes":[{"reason":"DisruptionBudget","message":"needs 1"}]}})",
            .error = {}};
      }
    } else {
      kube::Pod pod;
      pod.grace_seconds = p.grace;
      CHECK(now >= delete_at(pod, {noticed, deadline}, policy));
      CHECK(p.evictions >= 1U - (faults.failure > 0 || faults.down_to > Instant{} ? 1U : 0U));
      if (faults.forbid_delete) return {.status = 403, .headers = {}, .body = {}, .error = {}};
    }
    if (!p.terminating) {
      p.terminating = true;
      p.told_at = now;
      p.told_grace = grace;
      p.by_delete = order.call == Call::Delete;
      p.ends = now + std::chrono::seconds(grace);
      changed(p, "MODIFIED");
      const std::size_t index = static_cast<std::size_t>(&p - pods.data());
      later(std::chrono::seconds(grace), [this, index] {
        pods[index].gone = true;
        changed(pods[index], "DELETED");
        return drain.tick(now);
      });
    }
    return {.status = order.call == Call::Evict ? 201 : 200, .headers = {}, .body = {}, .error = {}};
  }

  void run(Duration window) {
    noticed = now;
    deadline = now + window;
    for (ModelPod& p : pods)
      p.terminating_at_start = p.terminating;
    Notice notice;
    notice.deadline = deadline;
    notice.id = "n1";
    take(drain.start(notice, now));
    unsigned steps = 0;
    while (now < deadline + 5s) {
      REQUIRE(++steps < 200000);
      const Instant next = std::min(wake, queue.empty() ? kNever : queue.top().at);
      if (next == kNever || next >= deadline + 5s) break;
      now = std::max(now, next);
      if (!queue.empty() && queue.top().at <= now) {
        const auto work = queue.top().run;
        queue.pop();
        take(work());
        // A model's own step may carry no wake: ask.
        take(drain.tick(now));
      } else {
        take(drain.tick(now));
      }
    }
    CHECK_FALSE(drain.active(deadline));
  }

  std::size_t count(Call call) const { return static_cast<std::size_t>(std::ranges::count(record, call, &Sent::call)); }
  static bool evictable(const ModelPod& p) {
    return p.owner != "DaemonSet" && !p.mirror && p.phase != "Succeeded" && p.phase != "Failed" &&
           !p.terminating_at_start;
  }
};

ModelPod pod(int i, std::int64_t grace = 15) {
  ModelPod p;
  p.name = "p" + std::to_string(i);
  p.uid = "u" + std::to_string(i);
  p.owner = "ReplicaSet";
  p.grace = grace;
  return p;
}

}  // namespace

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
  CHECK(w.record.at(1).call == Call::Watch);
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
  CHECK(w.count(Call::Event) == 3);
  CHECK(w.drain.drained());
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
  CHECK(w.drain.pods().at("u0").fate == Fate::Told);
  CHECK(w.drain.all_told());
}

TEST_CASE("without a streaming list the pods come in pages, then by a watch") {
  World w(4);
  w.faults.streaming = false;
  for (int i = 0; i < 110; ++i)
    w.pods.push_back(pod(i));
  w.run(60s);
  CHECK(w.count(Call::List) == 6);
  for (const ModelPod& p : w.pods)
    CHECK(p.told_grace == 15);
  CHECK(w.drain.drained());
}

TEST_CASE("history lost on resuming lists again") {
  World w(5);
  w.faults.gone_410 = true;
  w.faults.watch_break = 0.2;
  for (int i = 0; i < 30; ++i)
    w.pods.push_back(pod(i));
  w.run(60s);
  CHECK(w.drain.counters().relists >= 1);
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
  CHECK(w.drain.cordoned());
}

TEST_CASE("what is forbidden is told once and the rest goes on") {
  World w(7);
  w.pods = {pod(0), pod(1)};
  SECTION("cordon") {
    w.faults.forbid_cordon = true;
    w.run(60s);
    CHECK(w.count(Call::Cordon) == 1);
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
    CHECK(w.drain.pods().at("u0").fate == Fate::Forbidden);
    CHECK_FALSE(w.drain.all_told());
  }
}

TEST_CASE("a withdrawn notice stops the drain, a new one resumes it") {
  World w(8);
  w.pods = {pod(0)};
  w.noticed = w.now;
  w.deadline = w.now + 60s;
  Notice notice;
  notice.deadline = w.deadline;
  notice.id = "n";
  w.take(w.drain.start(notice, w.now));
  const DrainStep stopped = w.drain.withdraw(w.now);
  CHECK(stopped.orders.empty());
  CHECK(stopped.cancel);
  CHECK(w.drain.tick(w.now + 10s).orders.empty());
  w.take(stopped);
  w.now += 10s;
  w.run(60s);
  CHECK(w.pods[0].told_grace == 15);
}

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
