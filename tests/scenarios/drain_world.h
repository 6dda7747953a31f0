// A modelled API server, kubelet and node in virtual time, and a drain against them: budgets, faults, restarts. The
// model keeps the record that the assertions read, so nothing is asked of the drain's own account except at the end.
#pragma once

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <string>

#include "interrupt/drain.h"

#include "tests/scenarios/model_node.h"
#include "tests/support/catch.h"

namespace lastlight::test {

using namespace interrupt;
using namespace std::chrono_literals;

inline constexpr const char* kDate = "Mon, 18 Sep 2017 08:20:00 GMT";

struct ModelPod {
  std::string name, uid, owner, controller;  // owner: a kind; controller: a UID
  std::int64_t grace = 30;
  std::string phase = "Running", reason = {};
  bool mirror = false;
  bool budget = false;             // its budget refuses
  std::optional<Instant> opens{};  // until then
  bool never = false;              // every eviction answers 500, as with two budgets
  int group = 0;                   // a budget that allows one of them at a time; 0: none
  bool tolerates = false;          // and its controller puts it back on this node
  std::int64_t priority = 0;
  Json annotations = Json::object();
  std::vector<std::string> gates;
  Duration binds_in{};  // after the notice
  // What the kubelet makes of its end: a hook first, then SIGTERM, the sidecars last (KEP-753).
  Duration pre_stop{}, stops_in = 1s, sidecar_stops_in{};
  bool terminating = false;
  bool gone = false;
  // The record.
  bool terminating_at_start = false;
  Instant told_at{};
  std::int64_t told_grace = -1;
  bool by_delete = false;  // what told it to stop
  unsigned evictions = 0, deletes = 0, markings = 0;
  Instant sigterm_at{}, gone_at{};
  bool killed = false;  // its grace was too short for it
};

struct Faults {
  double failure = 0;  // of each request: 500, or no reply, or a lost reply of a success
  Instant down_from{}, down_to{};
  bool no_lists = false;
  bool forbid_evict = false, forbid_delete = false;
  bool namespace_ends = false;
  unsigned evict_later = 0;  // seconds that every eviction is told to wait (Retry-After)
  double watch_break = 0;    // of each delivered event
  bool gone_410 = false;     // the first resumed watch is told that history is lost
  bool events_hang = false;
  Duration latency = 5ms;
};

struct World {
  std::mt19937_64 random;
  DrainConfig policy;
  kube::Server server{"https://api:443", "t"};
  std::deque<ModelPod> pods;
  ModelNode node;
  Faults faults;
  Instant now{1h};
  Instant noticed{}, deadline{};
  std::unique_ptr<Drain> drain;
  bool marks_alone = false;
  std::string saved_text;   // on the node, over a restart
  unsigned generation = 0;  // of the drain: a killed one hears nothing any more

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
  std::uint64_t node_watch = 0;
  unsigned version = 10;
  Instant wake = kNever;
  std::set<std::string> shown_terminating;  // UIDs whose end was delivered to the drain

  explicit World(std::uint64_t seed) : random(seed) { make_drain(); }

  void make_drain() {
    drain = std::make_unique<Drain>("node-a", policy, server, [this] { return uniform(); });
  }

  double uniform() { return std::uniform_real_distribution<double>(0, 1)(random); }
  std::int64_t between(std::int64_t a, std::int64_t b) {
    return std::uniform_int_distribution<std::int64_t>(a, b)(random);
  }

  static std::string pod_json(const ModelPod& p, unsigned rv) {
    Json json = {{"metadata",
                  {{"namespace", "shop"}, {"name", p.name}, {"uid", p.uid}, {"resourceVersion", std::to_string(rv)}}},
                 {"spec", {{"terminationGracePeriodSeconds", p.grace}, {"nodeName", "node-a"}}},
                 {"status", {{"phase", p.phase}, {"reason", p.reason}}}};
    if (!p.owner.empty()) {
      json["metadata"]["ownerReferences"] =
          Json::array({Json{{"kind", p.owner}, {"name", "o"}, {"uid", p.controller}, {"controller", true}}});
    }
    json["metadata"]["annotations"] = p.annotations;
    if (p.mirror) json["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x";
    if (p.tolerates) json["spec"]["tolerations"] = Json::array({Json{{"operator", "Exists"}}});
    if (p.pre_stop > 0ns) {
      const Json lifecycle = {
          {"preStop", {{"sleep", {{"seconds", std::chrono::round<std::chrono::seconds>(p.pre_stop).count()}}}}}};
      json["spec"]["containers"] = Json::array({Json{{"name", "main"}, {"lifecycle", lifecycle}}});
    }
    if (p.sidecar_stops_in > 0ns)
      json["spec"]["initContainers"] = Json::array({Json{{"name", "sidecar"}, {"restartPolicy", "Always"}}});
    for (const std::string& gate : p.gates)
      json["spec"]["readinessGates"].push_back(Json{{"conditionType", gate}});
    json["spec"]["priority"] = p.priority;
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
  // Heard by the drain that asked, if it still lives.
  void hear(Duration in, std::function<DrainStep()> run) {
    later(in,
          [this, asked = generation, run = std::move(run)] { return asked == generation ? run() : drain->tick(now); });
  }
  void reply(std::uint64_t id, HttpReply r, Duration in) {
    r.headers.push_back({"Date", kDate});
    hear(in, [this, id, r] {
      if (!open.erase(id)) return drain->tick(now);
      if (watch == id) watch = 0;
      if (node_watch == id) node_watch = 0;
      if (const auto listed = kube::read_pod_page(r.body); r.status == 200 && listed) {
        for (const kube::Pod& p : listed->pods) {
          if (p.terminating) shown_terminating.insert(p.uid);
        }
      }
      return drain->on_reply(id, r, now);
    });
  }
  void deliver(std::uint64_t id, std::string bytes, std::string terminating_uid = {}) {
    hear(faults.latency, [this, id, bytes, terminating_uid] {
      if (watch != id && node_watch != id) return drain->tick(now);
      // Cut anywhere: a network has no lines. Half of one shows nothing yet.
      const auto cut = static_cast<std::size_t>(between(0, static_cast<std::int64_t>(bytes.size())));
      const auto show = [&] {
        if (!terminating_uid.empty()) shown_terminating.insert(terminating_uid);
      };
      if (cut == bytes.size()) show();
      take(drain->on_watch_bytes(id, std::string_view(bytes).substr(0, cut), now));
      show();
      return drain->on_watch_bytes(id, std::string_view(bytes).substr(cut), now);
    });
  }
  void changed(const ModelPod& p, const char* type) {
    if (!watch) return;
    deliver(watch, event(type, p), p.terminating ? p.uid : std::string{});
    if (uniform() < faults.watch_break) {
      reply(watch, {.status = 200, .headers = {}, .body = {}, .error = {}}, faults.latency + 1ms);
    }
  }

  void node_changed(const char* type = "MODIFIED") {
    if (node_watch)
      deliver(node_watch, std::string(R"({"type":")") + type + R"(","object":)" + dump_json(node.object) + "}\n");
  }
  // SIGKILL, and a new agent `away` later that knows only what was saved.
  void restart(Duration away) {
    if (!drain->saved().boot.empty()) saved_text = to_text(drain->saved());
    ++generation;
    open.clear();
    shown_terminating.clear();
    watch = node_watch = 0;
    make_drain();
    wake = kNever;
    later(away, [this, asked = generation] {
      if (asked != generation) return drain->tick(now);
      const auto read = read_saved_drain(saved_text);
      REQUIRE(read);
      return drain->start(*read, now);
    });
  }

  // The Node object is deleted, and made again later.
  void node_away(Duration from, Duration until) {
    later(from, [this] {
      node.exists = false;
      node_changed("DELETED");
      return drain->tick(now);
    });
    later(until, [this] {
      node.recreate("n-2");
      node_changed("ADDED");
      return drain->tick(now);
    });
  }

  bool down() const { return now >= faults.down_from && now < faults.down_to; }

  void take(DrainStep step) {
    wake = step.wake;
    for (const std::uint64_t id : step.cancel) {
      open.erase(id);
      if (watch == id) watch = 0;
      if (node_watch == id) node_watch = 0;
    }
    std::ranges::sort(step.orders, {}, [](const Order& order) { return std::pair(order.priority, order.id); });
    for (const Order& order : step.orders) {
      if (order.call == Call::Event || order.call == Call::Mark) CHECK((marks_alone || !somebody_waits()));
      serve(order);
    }
  }

  // A pod whose last safe instant has come and whose request is not on its way: nothing that only tells goes before it.
  bool somebody_waits() const {
    return drain->active(now) && !node.shuts_down() && std::ranges::any_of(drain->pods(), [this](const auto& entry) {
             const PodRecord& known = entry.second;
             const bool owed = known.fate == Fate::Waiting || known.fate == Fate::Refused;
             return owed && !known.in_flight && !known.delete_forbidden && now >= drain->last_safe(known) &&
                    (known.deletes == 0 || now >= known.next_try);
           });
  }

  void serve(const Order& order) {
    const std::string path = order.request.url.substr(server.base_url.size());
    record.push_back({now, order.call, order.request.method, path, order.request.body});
    CHECK(order.request.timeout > 0ns);
    if (order.call == Call::Event && !marks_alone) CHECK((now < deadline || now >= deadline + Drain::kMarksOutlast));
    const bool of_the_node = order.call == Call::ReadNode || order.call == Call::Unmark || order.call == Call::Event;
    if (!of_the_node && !marks_alone) {
      CHECK(now < deadline);
      CHECK(now + order.request.timeout <= deadline);
    }
    open.insert(order.id);
    if (down()) return reply(order.id, {.status = 0, .headers = {}, .body = {}, .error = "refused"}, 1ms);
    if (faults.no_lists && (order.call == Call::Watch || order.call == Call::List)) {
      return reply(order.id, {.status = 500, .headers = {}, .body = {}, .error = {}}, 1ms);
    }
    if (faults.events_hang && order.call == Call::Event) {
      return reply(order.id, {.status = 0, .headers = {}, .body = {}, .error = "timed out"}, order.request.timeout);
    }
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
    if (faults.latency > order.request.timeout) {
      return reply(order.id, {.status = 0, .headers = {}, .body = {}, .error = "timed out"}, order.request.timeout);
    }
    reply(order.id, std::move(answer), faults.latency);
  }

  HttpReply act(const Order& order, const std::string& path) {
    switch (order.call) {
      case Call::Cordon:
      case Call::Taint:
      case Call::ReadNode:
      case Call::Unmark: {
        HttpReply answer = node.serve(order.request);
        if (order.call != Call::ReadNode && answer.ok()) node_changed();
        return answer;
      }
      case Call::WatchNode:
        node_watch = order.id;
        if (node.exists) node_changed("ADDED");
        return {.status = -1, .headers = {}, .body = {}, .error = {}};
      case Call::Mark:
        return mark(order, path);
      case Call::Event:
        return {.status = 201, .headers = {}, .body = {}, .error = {}};
      case Call::Watch:
        return stream(order);
      case Call::List:
        return page(path);
      case Call::Evict:
      case Call::Delete:
        return end(order, path);
    }
    return {};
  }

  HttpReply stream(const Order& order) {
    watch = order.id;
    if (std::exchange(faults.gone_410, false)) {
      deliver(order.id, R"({"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}})"
                        "\n");
      return {.status = -1, .headers = {}, .body = {}, .error = {}};
    }
    // It owes every change since; the model sends the state as it is, which says the same.
    for (const ModelPod& p : pods) {
      if (p.name.empty() || now < noticed + p.binds_in) continue;
      deliver(order.id, event(p.gone ? "DELETED" : "MODIFIED", p), p.terminating ? p.uid : std::string{});
    }
    deliver(order.id, R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":")" + std::to_string(++version) +
                          R"("}}})" + "\n");
    return {.status = -1, .headers = {}, .body = {}, .error = {}};
  }

  HttpReply page(const std::string& path) {
    std::size_t from = 0;
    if (const auto at = path.find("continue="); at != std::string::npos) from = std::stoul(path.substr(at + 9));
    const std::size_t limit = std::stoul(path.substr(path.find("limit=") + 6));
    std::string items;
    std::size_t i = from;
    for (std::size_t n = 0; i < pods.size() && n < limit; ++i) {
      if (pods[i].gone || now < noticed + pods[i].binds_in) continue;
      items += (items.empty() ? "" : ",") + pod_json(pods[i], version);
      ++n;
    }
    const std::string next = i < pods.size() ? std::to_string(i) : "";
    return {.status = 200,
            .headers = {},
            .body = R"({"metadata":{"resourceVersion":"5","continue":")" + next + R"("},"items":[)" + items + "]}",
            .error = {}};
  }

  ModelPod* find_pod(const std::string& path) {
    std::string name = path.substr(std::string("/api/v1/namespaces/shop/pods/").size());
    name = name.substr(0, name.find('/'));
    const auto found = std::ranges::find_if(pods, [&](const ModelPod& p) { return p.name == name && !p.gone; });
    return found == pods.end() ? nullptr : &*found;
  }

  HttpReply mark(const Order& order, const std::string& path) {
    ModelPod* const found = find_pod(path);
    if (found == nullptr) return {.status = 404, .headers = {}, .body = {}, .error = {}};
    const Json body = *parse_json(order.request.body);
    CHECK(string_at(body, "deleteOptions", "preconditions", "uid") == found->uid);
    CHECK(find(body, "deleteOptions", "gracePeriodSeconds") == nullptr);
    CHECK(found->terminating);  // by our DELETE, or by an eviction before it whose answer was lost: it changes nothing
                                // more
    CHECK(++found->markings == 1);
    return {.status = 201, .headers = {}, .body = {}, .error = {}};
  }

  bool allows_one(const ModelPod& p) const {
    return std::ranges::none_of(pods, [&](const ModelPod& other) {
      return other.group == p.group && other.terminating && (!other.gone || now < other.gone_at + 3s);
    });
  }

  // The kubelet: the hook, then SIGTERM, the sidecars when the others have ended; at the end of the grace SIGKILL, but
  // 2 s are left after a hook that used all of it.
  void stop(ModelPod& p) {
    const Duration grace = std::chrono::seconds(p.told_grace);
    const Duration hook = std::min(p.pre_stop, grace);
    p.sigterm_at = now + hook;
    const Duration wanted = hook + p.stops_in + p.sidecar_stops_in;
    const Duration allowed = p.pre_stop >= grace ? grace + 2s : grace;
    p.killed = wanted > allowed;
    const std::size_t index = static_cast<std::size_t>(std::ranges::find(pods, p.uid, &ModelPod::uid) - pods.begin());
    later(std::min(wanted, allowed), [this, index] {
      ModelPod& ended = pods[index];
      ended.gone = true;
      ended.gone_at = now;
      changed(ended, "DELETED");
      if (ended.tolerates && ended.owner != "DaemonSet") come_back(ended);
      return drain->tick(now);
    });
  }

  void come_back(const ModelPod& ended) {
    ModelPod p;
    p.name = ended.name + "x";
    p.uid = ended.uid + "x";
    p.owner = ended.owner;
    p.controller = ended.controller;
    p.grace = ended.grace;
    p.tolerates = true;
    p.binds_in = now - noticed;
    pods.push_back(p);
    changed(pods.back(), "ADDED");
  }

  HttpReply end(const Order& order, const std::string& path) {
    ModelPod* const found = find_pod(path);
    if (found == nullptr) return {.status = 404, .headers = {}, .body = {}, .error = {}};
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
      if (faults.namespace_ends) {
        return {.status = 403,
                .headers = {},
                .body = R"({"kind":"Status","code":403,"details":{"causes":[{"reason":"NamespaceTerminating"}]}})",
                .error = {}};
      }
      if (faults.evict_later > 0) {
        return {
            .status = 429, .headers = {{"Retry-After", std::to_string(faults.evict_later)}}, .body = {}, .error = {}};
      }
      if (p.never) return {.status = 500, .headers = {}, .body = "more than one PodDisruptionBudget", .error = {}};
      const bool refused =
          (p.budget && !(p.opens && now >= *p.opens)) || (p.group != 0 && !p.terminating && !allows_one(p));
      if (refused) {
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
      // An agent that starts after D may not have been shown by the watch that the name is still this pod's.
      const bool unshown = generation > 0 && p.owner != "ReplicaSet";
      CHECK((p.evictions > 0 || faults.failure > 0 || faults.down_to > Instant{} || unshown));
      if (faults.forbid_delete) return {.status = 403, .headers = {}, .body = {}, .error = {}};
    }
    if (!p.terminating) {
      p.terminating = true;
      p.told_at = now;
      p.told_grace = grace;
      p.by_delete = order.call == Call::Delete;
      changed(p, "MODIFIED");
      stop(p);
    }
    return {.status = order.call == Call::Evict ? 201 : 200, .headers = {}, .body = {}, .error = {}};
  }

  void run(Duration window) {
    noticed = now;
    deadline = now + window;
    for (ModelPod& p : pods)
      p.terminating_at_start = p.terminating;
    for (ModelPod& p : pods) {
      if (p.binds_in == 0ns) continue;
      later(p.binds_in, [this, &p] {
        changed(p, "ADDED");
        return drain->tick(now);
      });
    }
    take(drain->start(notice("n1"), now));
    turn();
    CHECK_FALSE(drain->active(deadline));
  }

  SavedDrain notice(std::string id) const {
    SavedDrain saved;
    saved.notice.deadline = deadline;
    saved.notice.id = std::move(id);
    saved.noticed = now;
    saved.node = "node-a";
    saved.boot = "b";
    return saved;
  }

  // Until T, or until nothing is left to do.
  void turn(Duration beyond = 5s) {
    unsigned steps = 0;
    while (now < deadline + beyond) {
      REQUIRE(++steps < 200000U);
      const Instant next = std::min(wake, queue.empty() ? kNever : queue.top().at);
      if (next == kNever || next >= deadline + beyond) break;
      now = std::max(now, next);
      if (!queue.empty() && queue.top().at <= now) {
        const auto work = queue.top().run;
        queue.pop();
        take(work());
        // A model's own step may carry no wake: ask.
        take(drain->tick(now));
      } else {
        take(drain->tick(now));
      }
    }
  }

  std::size_t count(Call call) const { return static_cast<std::size_t>(std::ranges::count(record, call, &Sent::call)); }
  static bool evictable(const ModelPod& p) {
    return p.owner != "DaemonSet" && !p.mirror && p.phase != "Succeeded" && p.phase != "Failed" &&
           !p.terminating_at_start;
  }
};

inline ModelPod pod(int i, std::int64_t grace = 15) {
  ModelPod p;
  p.name = "p" + std::to_string(i);
  p.uid = "u" + std::to_string(i);
  p.owner = "ReplicaSet";
  p.controller = "c" + std::to_string(i);
  p.grace = grace;
  return p;
}

}  // namespace lastlight::test
