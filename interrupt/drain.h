// One node's drain as a state machine: API answers and the time in, API calls out. It owns what is known of the node's
// pods and of each pod's fate; it opens nothing, reads no clock, and never sends two requests for one pod at once.
//
// Order of calls: cordon, watch, evictions, deletes at the last safe instant, Events. What it promises, for any
// answers:
//   - a pod that terminates already is sent nothing; DaemonSet, mirror and finished pods are sent nothing;
//   - no DELETE before D (plan.h) nor before an eviction was tried; never a grace of 0;
//   - no request at or after the deadline; only a pod's own watch event ends its work, not a 404 or 409.
// Eviction: KEP-85, policy/v1. Streaming list: KEP-3157, with a paged list and a watch where the server has none.
// Bounds: kMaxPods pods, max_in_flight requests beside cordon and watch, one watch line, kMaxFacts facts not yet taken.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/backoff.h"
#include "agent/base/http.h"
#include "agent/config.h"
#include "agent/kube/requests.h"
#include "agent/kube/watch.h"
#include "interrupt/notice.h"
#include "interrupt/plan.h"

namespace lastlight::interrupt {

enum class Call { Cordon, Watch, List, Evict, Delete, Event };

// Lower is more urgent. A Watch streams: its bytes go to on_watch_bytes (of a 2xx reply only), its end to on_reply.
struct Order {
  std::uint64_t id = 0;
  Call call = Call::Cordon;
  int priority = 0;
  HttpRequest request;
};

struct DrainStep {
  std::vector<Order> orders;
  Instant wake = kNever;                // call tick() then at the latest
  std::optional<std::uint64_t> cancel;  // this watch is of no use any more
};

enum class Fate {
  Stays,      // DaemonSet, mirror, finished
  Waiting,    // to be evicted, or evicted again
  Refused,    // a budget refuses; deleted at D
  Evicted,    // told by our eviction
  Deleted,    // told by our DELETE
  Told,       // was terminating without us
  Forbidden,  // neither eviction nor DELETE is permitted
  Gone,       // the watch says so
};

struct PodRecord {
  kube::Pod pod;
  Fate fate = Fate::Waiting;
  bool told = false;  // got its SIGTERM with a grace, by whomever
  Instant first_seen{};
  Instant told_at{};
  std::chrono::seconds grace{0};  // of the request that told it
  unsigned evictions = 0;
  unsigned deletes = 0;
  unsigned failures = 0;  // in a row, of either
  bool eviction_forbidden = false;
  bool delete_forbidden = false;
  Instant next_try{};
  bool in_flight = false;
  bool seen = true;  // in the list that is being read
  std::string last_error;
};

// The timeline, for logs and metrics.
struct Fact {
  enum class Kind {
    Started,
    Cordoned,
    CordonFailed,
    Listed,
    Evicted,
    Refused,
    Deleted,
    Gone,
    Forbidden,
    WatchFailed,
    AllTold,
    Drained,
    Withdrawn
  };
  Kind kind = Kind::Started;
  Instant at{};
  std::string subject;  // namespace/name, or the node
  std::string text;
};

struct DrainCounters {
  std::uint64_t requests = 0;
  std::uint64_t evictions_refused = 0;
  std::uint64_t transient_errors = 0;
  std::uint64_t watches_ended = 0;
  std::uint64_t relists = 0;
  std::uint64_t unreadable_events = 0;
  std::uint64_t pods_over_bound = 0;
  std::uint64_t facts_lost = 0;
};

class Drain {
 public:
  static constexpr std::size_t kMaxPods =
      2048;  // the kubelet's default is 110; gone ones are forgotten when it is full
  static constexpr std::size_t kMaxFacts = 4096;

  // `server` is the shell's: its token may change between calls.
  Drain(std::string node, const DrainConfig& policy, const kube::Server& server, Uniform uniform);

  DrainStep start(const Notice& notice, Instant now);  // again with a new notice: the deadline moves
  DrainStep withdraw(Instant now);                     // no further request for a pod; what was told stays told
  DrainStep on_reply(std::uint64_t id, const HttpReply& reply, Instant now);
  DrainStep on_watch_bytes(std::uint64_t id, std::string_view bytes, Instant now);
  DrainStep tick(Instant now);

  bool active(Instant now) const { return started_ && !withdrawn_ && now < window_.deadline; }
  bool cordoned() const { return cordon_.done; }
  bool all_told() const;  // every pod that can be told was; pods bound later make it false again
  bool drained() const;   // and all of them are gone
  const Window& window() const { return window_; }
  const std::map<std::string, PodRecord>& pods() const { return pods_; }  // by UID
  const DrainCounters& counters() const { return counters_; }
  std::vector<Fact> take_facts();

 private:
  struct Flight {
    Call call;
    std::string uid{};  // Evict, Delete
    std::chrono::seconds grace{0};
    std::size_t event = 0;
  };
  // A call that is repeated until it succeeds or can never.
  struct Once {
    bool done = false;
    bool hopeless = false;
    bool in_flight = false;
    unsigned failures = 0;
    Instant next_try{};
  };
  DrainStep advance(Instant now);
  void order(DrainStep& step, Call call, int priority, HttpRequest request, Flight flight, Instant now);
  void order_cordon(DrainStep& step, Instant now);
  void order_source(DrainStep& step, Instant now);
  void order_pods(DrainStep& step, Instant now);
  void order_events(DrainStep& step, Instant now);
  void send_for(DrainStep& step, PodRecord& record, Instant now);
  bool wants_delete(const PodRecord& record, Instant now) const;
  Instant due(const PodRecord& record) const;

  void on_cordon(const HttpReply& reply, Instant now);
  void on_watch_end(const HttpReply& reply, Instant now);
  void on_page(const HttpReply& reply, Instant now);
  void on_evict(PodRecord& record, const Flight& flight, const HttpReply& reply, Instant now);
  void on_delete(PodRecord& record, const Flight& flight, const HttpReply& reply, Instant now);
  void on_event_created(std::size_t event, const HttpReply& reply, Instant now);
  void on_line(std::string_view line, Instant now);
  void on_pod(const kube::Pod& pod, bool deleted, Instant now);
  void told(PodRecord& record, Fate fate, std::chrono::seconds grace, Instant now);
  void gone(PodRecord& record, Instant now);
  void list_ended(Instant now);
  void relist();
  void stop_watch();
  void announce(Instant now);
  bool make_room();

  void retry(Once& call, Instant now);
  void retry(PodRecord& record, Instant now, Duration at_least);
  void fact(Fact::Kind kind, Instant now, std::string subject, std::string text = {});
  void tell_node(Instant now, std::string type, std::string reason, std::string message);
  std::string event_time(Instant now) const;

  const std::string node_;
  const DrainConfig policy_;
  const kube::Server& server_;
  Uniform uniform_;

  bool started_ = false;
  bool withdrawn_ = false;
  Notice notice_;
  Window window_{};
  Once cordon_;

  Once watch_;             // whichever of stream, page and watch is next or in flight
  bool need_list_ = true;  // nothing to watch from
  bool paged_ = false;     // the server has no streaming list
  std::uint64_t watch_id_ = 0;
  Instant heard_watch_{};
  std::optional<std::uint64_t> cancel_;
  bool listed_ = false;  // at least one list was read whole
  bool heard_ = false;   // the API server has answered something
  bool told_announced_ = false;
  bool drained_announced_ = false;
  std::string resource_version_;
  std::string continue_;
  kube::LineCutter cutter_;

  std::map<std::string, PodRecord> pods_;
  std::map<std::uint64_t, Flight> flights_;
  std::size_t in_flight_ = 0;  // those that max_in_flight bounds
  std::uint64_t last_id_ = 0;

  struct PendingEvent {
    kube::NodeEvent event;
    Once call;
    Instant happened{};
  };
  std::vector<PendingEvent> events_;                          // at most kMaxEvents
  std::optional<std::pair<WallTime, Instant>> server_clock_;  // the API server's Date and when it came

  std::vector<Fact> facts_;
  DrainCounters counters_;
};

}  // namespace lastlight::interrupt
