// One node's drain as a state machine: API answers and the time in, API calls out. It owns what is known of the node's
// pods and of each pod's fate; it opens nothing, reads no clock, and never sends two requests for one pod at once.
//
// Order of calls: marks on the node, watch, what ends pods, what tells of it. Where the server is so slow that pods
// wait for each other, the one whose D is nearest goes first, so a DELETE at D before evictions that have time, and
// repetitions of refused evictions last. What it promises, for any answers:
//   - a pod that terminates already is sent nothing, but one marking eviction after our own DELETE, which changes only
//     its condition DisruptionTarget; DaemonSet, mirror and finished pods are sent nothing;
//   - no DELETE before D (plan.h) nor before an eviction was tried, but of a name as follows; never a grace of 0;
//   - no eviction of a name that may be another pod's by now: it would spend that one's budget (shown_live);
//   - no request for a pod at or after the deadline; only its own watch event ends a pod's work, not a 404 or 409;
//   - marking evictions and Events, the courtesies, are sent when nothing that ends a pod waits, and never take its
//     place.
// Eviction: KEP-85, policy/v1. The pods come as a consistent list in pages (KEP-2340: of a cache that is indexed by
// node), then as a watch from where it ended. Not as a streaming list (KEP-3157): for that the server goes through all
// pods of the cluster for each node, and counts it as ten requests.
// Bounds: kMaxPods pods, max_in_flight evictions and deletes at once (at a busy server fewer, or at most twice as many
// where a pod would be told late: congestion.h) and kBeside requests beside them (kLastChances of them are DELETEs at
// D that found no room), one line per watch, kMaxFacts facts not yet taken, kMaxEvents Events.
//
// drain.cpp: what is due. drain_replies.cpp: what answers mean. drain_watch.cpp: lists and watches. drain_tell.cpp:
// facts, Events and the account of the pods.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/backoff.h"
#include "agent/base/http.h"
#include "agent/config.h"
#include "agent/kube/requests.h"
#include "agent/kube/watch.h"
#include "interrupt/congestion.h"
#include "interrupt/node_marks.h"
#include "interrupt/notice.h"
#include "interrupt/plan.h"
#include "interrupt/saved_drain.h"

namespace lastlight::interrupt {

enum class Call { Cordon, Taint, ReadNode, Unmark, WatchNode, Watch, List, Evict, Delete, Mark, Event };

// Its bytes go to on_watch_bytes (of a 2xx reply only), its end to on_reply.
constexpr bool streams(Call call) {
  return call == Call::Watch || call == Call::WatchNode;
}

// Granted, the pod's end begins.
constexpr bool ends_a_pod(Call call) {
  return call == Call::Evict || call == Call::Delete;
}

// Lower is more urgent.
struct Order {
  std::uint64_t id = 0;
  Call call = Call::Cordon;
  int priority = 0;
  HttpRequest request;
};

struct DrainStep {
  std::vector<Order> orders;
  Instant wake = kNever;              // call tick() then at the latest
  std::vector<std::uint64_t> cancel;  // these watches are of no use any more
};

enum class Fate {
  Stays,      // DaemonSet, mirror, finished
  Waiting,    // to be evicted, or evicted again
  Refused,    // a budget refuses; deleted at D
  Evicted,    // told by our eviction
  Deleted,    // told by our DELETE
  Told,       // was terminating without us
  Forbidden,  // neither eviction nor DELETE is permitted
  Returned,   // its controller had a pod evicted here and put this one back, past the cordon: left
  Gone,       // the watch says so
};
inline constexpr std::size_t kFates = 9;
std::string_view fate_name(Fate fate);  // as metrics, status and logs spell it: "evicted"

struct PodRecord {
  kube::Pod pod;
  Fate fate = Fate::Waiting;
  bool told = false;           // its end was announced with a grace; a preStop hook still comes before SIGTERM
  Fate by = Fate::Waiting;     // by what: Evicted, Deleted, Told
  Fate asked = Fate::Waiting;  // what our request without a definite answer would make of it
  Instant first_seen{};
  Instant told_at{};
  Instant gone_at{};
  std::chrono::seconds grace{0};  // of the request that told it
  unsigned evictions = 0;
  unsigned deletes = 0;
  unsigned failures = 0;    // in a row, of either
  unsigned unanswered = 0;  // given up, of either
  bool refused = false;     // by its budget, at least once
  bool marked = false;      // the marking eviction was sent
  bool doubtful = false;    // 404 or 409: the name may be another pod's; until the watch shows it again
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
    Tainted,
    TaintFailed,
    UncordonedByOther,
    NodeDeleted,
    KubeletStops,
    Listed,
    Evicted,
    Refused,
    Deleted,
    Gone,
    Outlives,
    Returned,
    Forbidden,
    WatchFailed,
    AllTold,
    Drained,
    Ended,
    NeverTold,
    Withdrawn,
    Unmarked,
    UnmarkFailed
  };
  Kind kind = Kind::Started;
  Instant at{};
  std::string subject;  // namespace/name, or the node
  std::string text;
};
inline constexpr std::size_t kFactKinds = 24;

// The pods by outcome, DaemonSet and mirror pods and those that had finished before aside.
struct DrainOutcome {
  std::size_t evicted = 0;
  std::size_t deleted = 0;
  std::size_t joined = 0;      // told by somebody else
  std::size_t gone = 0;        // of those three: ended
  std::size_t running = 0;     // of those three: not yet
  bool listed = false;         // the pods were; else none of these is known
  std::size_t never_told = 0;  // Returned ones among them
  std::size_t returned = 0;
};

struct DrainCounters {
  std::uint64_t requests = 0;
  std::uint64_t evictions_refused = 0;
  std::uint64_t transient_errors = 0;
  std::uint64_t watches_ended = 0;
  std::uint64_t relists = 0;
  std::uint64_t unreadable_events = 0;
  std::uint64_t pods_over_bound = 0;
  std::uint64_t events_over_bound = 0;
  std::uint64_t facts_lost = 0;
};

class Drain {
 public:
  static constexpr std::size_t kMaxPods =
      2048;  // the kubelet's default is 110; gone ones are forgotten when it is full
  static constexpr std::size_t kMaxFacts = 4096;
  static constexpr std::size_t kMaxEvents = 256;
  static constexpr std::size_t kCourtesies = 2;   // at once
  static constexpr std::size_t kLastChances = 2;  // at once, beyond what the server has room for
  static constexpr std::uint32_t kBeside = 3 + kCourtesies + kLastChances;  // of the node's marks one, two watches
  static constexpr std::uint32_t connections(const DrainConfig& policy) {
    return static_cast<std::uint32_t>(Congestion::kBehind) * policy.max_in_flight + kBeside;
  }
  // Marks stay this long after T when nobody announces the end any more: the machine may yet be taken.
  static constexpr auto kMarksOutlast = std::chrono::minutes(10);

  // `server` is the shell's: its token may change between calls.
  Drain(std::string node, const DrainConfig& policy, const kube::Server& server, Uniform uniform);

  // Again with a new notice: the deadline moves. `announced`: by its source, now; else it is what was saved before a
  // restart, and nobody will withdraw it.
  DrainStep start(const SavedDrain& saved, Instant now, bool announced = true);
  // Marks the node and leaves its pods alone; a drain ends as if it had been withdrawn. Not `announced`: until the
  // saved deadline.
  DrainStep mark(const SavedDrain& saved, Instant now, bool announced = true);
  DrainStep withdraw(Instant now);  // no further request for a pod; what was told stays told; marks go
  DrainStep unmark(Instant now);    // what an earlier boot has left on the node
  DrainStep on_reply(std::uint64_t id, const HttpReply& reply, Instant now);
  DrainStep on_watch_bytes(std::uint64_t id, std::string_view bytes, Instant now);
  DrainStep tick(Instant now);
  DrainStep tell_notice(const Notice& notice, Instant now);  // by an Event on the node
  DrainStep hear(const HttpReply& reply, Instant now);       // of a request of somebody else's: the server's clock
  // No eviction before this instant, but never past a pod's own D; none lets them go at once.
  void hold(std::optional<Instant> until) { held_until_ = until; }

  bool active(Instant now) const { return started_ && !withdrawn_ && now < window_.deadline; }
  bool cordoned() const { return marks_.cordoned(); }
  bool unmarked() const { return marks_.clearing() && marks_.idle(); }
  bool marks() const { return !saved_.node.empty(); }  // or has; of this life or one before
  bool marks_by_hand() const;                          // and they stand, for a person's notice
  bool all_told() const;  // every pod that can be told was; pods bound later make it false again
  bool drained() const;   // and all of them are gone
  DrainOutcome outcome() const;
  const Window& window() const { return window_; }
  Instant last_safe(const PodRecord& record) const { return delete_at(record.pod, window_, policy_); }  // D
  std::optional<Instant> cordoned_at() const { return cordoned_at_; }  // first granted for this drain
  const SavedDrain& saved() const { return saved_; }
  const std::map<std::string, PodRecord>& pods() const { return pods_; }  // by UID
  const DrainCounters& counters() const { return counters_; }
  std::vector<Fact> take_facts();

 private:
  struct Flight {
    Call call;
    std::string uid{};  // Evict, Delete, Mark
    std::chrono::seconds grace{0};
    std::size_t event = 0;
    Instant asked{};
    Duration patience = Duration::max();  // less than congestion_ has
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
  std::uint64_t order(DrainStep& step, Call call, int priority, HttpRequest request, Flight flight, Instant now);
  void order_marks(DrainStep& step, Instant now);
  void order_node_watch(DrainStep& step, Instant now);
  void order_source(DrainStep& step, Instant now);
  void order_pods(DrainStep& step, Instant now);
  void order_marking(DrainStep& step, Instant now);
  void order_events(DrainStep& step, Instant now);
  void send_for(DrainStep& step, PodRecord& record, Instant now);
  bool room() const { return in_flight_ < room_; }
  bool room_for_last_chance() const { return in_flight_ < room_ + kLastChances; }
  bool room_for_marking() const { return courtesies_ < kCourtesies && in_flight_ + courtesies_ < room_; }
  bool room_for_event() const { return courtesies_ == 0 && room_for_marking(); }
  void enter(Call call);
  void leave(Call call);
  Duration longest_wait(Instant now) const;
  Duration patience(Instant now) const;
  Duration least_wait(const PodRecord& record, Instant now) const;
  bool wants_delete(const PodRecord& record, Instant now) const;
  bool shown_live(const PodRecord& record, Instant now) const;
  bool may_evict(const PodRecord& record, Instant now) const;
  Tier front_tier() const;
  Instant due(const PodRecord& record, Tier front, Instant now) const;
  double needed_pace(Instant now) const;
  Duration unanswered(Instant now) const;

  void note_clock(const HttpReply& reply, Instant now);
  void note_congestion(const std::optional<kube::Status>& refusal, const Flight& flight, Instant now);
  void on_marks(const std::vector<NodeMarks::Told>& told, Instant now);
  void on_node_watch_end(const HttpReply& reply, Instant now);
  void on_node_line(std::string_view line, Instant now);
  void on_watch_end(const HttpReply& reply, Instant now);
  void on_page(const HttpReply& reply, Instant now);
  void on_answer(PodRecord& record, const Flight& flight, const std::optional<kube::Status>& refusal, Instant now);
  void on_no_eviction(PodRecord& record, const kube::Status& status, Instant now);
  void on_no_deletion(PodRecord& record, const kube::Status& status, Instant now);
  void on_event_created(std::size_t event, const HttpReply& reply, Instant now);
  void on_line(std::string_view line, Instant now);
  void on_pod(const kube::Pod& pod, bool deleted, Instant now);
  PodRecord* record_of(const kube::Pod& pod, bool deleted, Instant now);
  void terminates(PodRecord& record, Instant now);
  void told(PodRecord& record, Fate fate, std::chrono::seconds grace, Instant now);
  void gone(PodRecord& record, Instant now);
  void watch_answers(Instant now);
  void list_ended(Instant now);
  void relist();
  void stop_watch();
  void stop_node_watch();
  void announce(Instant now);
  void end(Instant now);
  bool make_room();

  void retry(Once& call, Instant now);
  void retry(PodRecord& record, Instant now, Duration at_least);
  void fact(Fact::Kind kind, Instant now, std::string subject, std::string text = {});
  void tell_node(Instant now, std::string type, std::string reason, std::string message);
  void tell_node(Instant now, std::string_view id, std::string type, std::string reason, std::string message);
  bool silent(Instant now) const;
  void tell_pod(Instant now, const kube::Pod& pod, std::string reason, std::string message);
  void tell(Instant now, kube::NodeEvent event);
  std::string event_time(Instant now) const;

  const std::string node_;
  const DrainConfig policy_;
  const kube::Server& server_;
  Uniform uniform_;

  bool started_ = false;
  bool withdrawn_ = false;
  bool ended_ = false;  // the account was given
  SavedDrain saved_;
  Window window_{};
  NodeMarks marks_;
  Instant marks_end_ = kNever;
  bool told_unmarked_ = false;
  std::optional<Instant> cordoned_at_;
  bool shutting_down_ = false;  // the kubelet stops the pods by itself
  std::optional<Instant> held_until_;

  Once watch_;             // whichever of page and watch is next or in flight
  bool need_list_ = true;  // nothing to watch from
  std::uint64_t watch_id_ = 0;
  Instant listed_at_{};
  Instant settled_{};  // from then on a watch that was resumed has caught up
  Once node_watch_;
  std::uint64_t node_watch_id_ = 0;
  std::vector<std::uint64_t> cancel_;
  bool listed_ = false;  // at least one list was read whole
  bool heard_ = false;   // the API server has answered something
  Congestion congestion_;
  std::size_t room_ = 0;  // for evictions and deletes, at this step
  bool told_announced_ = false;
  bool drained_announced_ = false;
  std::string resource_version_;
  std::string continue_;
  kube::LineCutter cutter_;
  kube::LineCutter node_cutter_;

  std::map<std::string, PodRecord> pods_;
  std::set<std::string> evicted_controllers_;  // by UID, at most kMaxPods
  std::map<std::uint64_t, Flight> flights_;
  std::size_t in_flight_ = 0;   // evictions and deletes
  std::size_t courtesies_ = 0;  // in flight: marking evictions and Events
  std::uint64_t last_id_ = 0;

  struct PendingEvent {
    kube::NodeEvent event;
    Once call;
    Instant happened{};
  };
  std::vector<PendingEvent> events_;                          // at most kMaxEvents; those in flight know their index
  std::optional<std::pair<WallTime, Instant>> server_clock_;  // the API server's Date and when it came

  std::vector<Fact> facts_;
  DrainCounters counters_;
};

}  // namespace lastlight::interrupt
