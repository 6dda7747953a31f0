// The calls: what is due, in which order, until when.
#include "interrupt/drain.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "interrupt/manual.h"

namespace lastlight::interrupt {
namespace {

using std::chrono::seconds;

constexpr unsigned kPageSize = 110;                            // the kubelet's default
constexpr auto kSettle = std::chrono::milliseconds(500);       // of a resumed watch: it tells at once what it missed
constexpr auto kEachSecond = seconds(1);                       // the plan is looked at again, whatever happened
constexpr auto kCordonFirst = std::chrono::milliseconds(250);  // what evictions wait for its reply, or a pod comes back

// Pods of these controllers have random names: one that is gone leaves its name to nobody.
bool name_recurs(const kube::Pod& pod) {
  return pod.controller_kind != "ReplicaSet" && pod.controller_kind != "ReplicationController" &&
         pod.controller_kind != "Job";
}

Call call_of(NodeMarks::Call call) {
  switch (call) {
    case NodeMarks::Call::Cordon:
      return Call::Cordon;
    case NodeMarks::Call::Taint:
      return Call::Taint;
    case NodeMarks::Call::Read:
      return Call::ReadNode;
    case NodeMarks::Call::Unmark:
      return Call::Unmark;
  }
  return Call::Cordon;
}

}  // namespace

Drain::Drain(std::string node, const DrainConfig& policy, const kube::Server& server, Uniform uniform)
    : node_(std::move(node)),
      policy_(policy),
      server_(server),
      uniform_(std::move(uniform)),
      marks_(node_, policy_.taint, server_),
      congestion_(policy_.max_in_flight) {}

DrainStep Drain::start(const SavedDrain& saved, Instant now, bool announced) {
  const bool going_on = active(now);
  const bool moved = !going_on || saved.notice.id != saved_.notice.id ||
                     std::chrono::abs(saved.notice.deadline - window_.deadline) >= kEachSecond;
  if (!going_on) {
    window_.noticed = std::min(saved.noticed, now);
    congestion_ = Congestion(policy_.max_in_flight);
    cordoned_at_.reset();
  }
  window_.deadline = saved.notice.deadline;
  started_ = true;
  marks_end_ = announced ? kNever : window_.deadline + kMarksOutlast;
  withdrawn_ = false;
  ended_ = false;
  if (moved) {
    saved_ = saved;
    saved_.noticed = window_.noticed;
  }
  if (!active(now)) {  // saved before T, found after it: the marks alone are left to do
    ended_ = true;
    return advance(now);
  }
  if (moved) marks_.set(to_text(saved_), kube::Mark::Drain, now);
  if (!going_on) fact(Fact::Kind::Started, now, node_, saved_.notice.id);
  return advance(now);
}

DrainStep Drain::mark(const SavedDrain& saved, Instant now, bool announced) {
  if (active(now)) fact(Fact::Kind::Withdrawn, now, node_, saved_.notice.id);
  started_ = false;
  saved_ = saved;
  marks_end_ = announced ? kNever : saved.notice.deadline;
  marks_.set(to_text(saved_), saved.mark, now);
  return advance(now);
}

bool Drain::marks_by_hand() const {
  return marks() && !unmarked() && saved_.notice.source == kManual;
}

DrainStep Drain::withdraw(Instant now) {
  // Of a machine that a person only said would end, nobody may yet take it.
  const bool surely = active(now) || !started_ || saved_.notice.source == kManual;
  marks_end_ = surely ? now : window_.deadline + kMarksOutlast;
  if (active(now)) {
    fact(Fact::Kind::Withdrawn, now, node_, saved_.notice.id);
    withdrawn_ = true;
  }
  return advance(now);
}

DrainStep Drain::unmark(Instant now) {
  if (!active(now)) marks_.clear(now);
  return advance(now);
}

DrainStep Drain::tick(Instant now) {
  return advance(now);
}

DrainStep Drain::advance(Instant now) {
  DrainStep step;
  room_ = congestion_.room(needed_pace(now), unanswered(now));
  if (active(now)) {
    announce(now);
    step.wake = std::min(window_.deadline, now + kEachSecond);
    order_marks(step, now);
    order_source(step, now);
    order_node_watch(step, now);
    order_pods(step, now);
    order_marking(step, now);
    order_events(step, now);
  } else {
    stop_watch();
    stop_node_watch();
    if (started_ && !withdrawn_ && !std::exchange(ended_, true)) end(now);
    if (now >= marks_end_) {
      marks_.clear(now);
    } else {
      step.wake = marks_end_;
    }
    if (marks_.clearing() || !started_) order_marks(step, now);
    if (!silent(now)) order_events(step, now);
  }
  if (!unmarked()) {
    told_unmarked_ = false;
  } else if (!std::exchange(told_unmarked_, true)) {
    fact(Fact::Kind::Unmarked, now, node_, "nothing of ours was there any more");
  }
  step.cancel = std::exchange(cancel_, {});
  return step;
}

void Drain::enter(Call call) {
  if (ends_a_pod(call)) ++in_flight_;
  if (call == Call::Mark || call == Call::Event) ++courtesies_;
}

void Drain::leave(Call call) {
  if (ends_a_pod(call)) --in_flight_;
  if (call == Call::Mark || call == Call::Event) --courtesies_;
}

std::uint64_t Drain::order(DrainStep& step, Call call, int priority, HttpRequest request, Flight flight, Instant now) {
  if (active(now)) {  // a reply after the end is of no use to anybody
    if (!streams(call)) request.timeout = std::min(patience(now), flight.patience);
    request.connect_timeout = std::max(request.connect_timeout, patience(now) / 4);
    request.timeout = std::min(request.timeout, Duration(window_.deadline - now));
    request.connect_timeout = std::min(request.connect_timeout, request.timeout);
  }
  const std::uint64_t id = ++last_id_;
  enter(call);
  ++counters_.requests;
  flight.asked = now;
  flights_.emplace(id, std::move(flight));
  step.orders.push_back({.id = id, .call = call, .priority = priority, .request = std::move(request)});
  return id;
}

void Drain::order_marks(DrainStep& step, Instant now) {
  if (auto next = marks_.next(now)) {
    const Call call = call_of(next->call);
    order(step, call, 0, std::move(next->request), {.call = call}, now);
  }
  step.wake = std::min(step.wake, marks_.wake());
}

// After the cordon, so that it is the first call; it tells of people who uncordon, of a Node object that is deleted,
// and of a kubelet that shuts down by itself.
void Drain::order_node_watch(DrainStep& step, Instant now) {
  if (node_watch_.in_flight || node_watch_.hopeless || !(marks_.cordoned() || marks_.hopeless())) return;
  if (now < node_watch_.next_try) {
    step.wake = std::min(step.wake, node_watch_.next_try);
    return;
  }
  node_watch_.in_flight = true;
  node_cutter_.reset();
  node_watch_id_ = order(step, Call::WatchNode, 3, kube::watch_node(server_, node_), {.call = Call::WatchNode}, now);
}

void Drain::order_source(DrainStep& step, Instant now) {
  if (watch_.in_flight) return;
  if (now < watch_.next_try) {
    step.wake = std::min(step.wake, watch_.next_try);
    return;
  }
  watch_.in_flight = true;
  cutter_.reset();
  if (need_list_ && continue_.empty()) {
    for (auto& [uid, record] : pods_)
      record.seen = false;
  }
  if (!need_list_) settled_ = now == listed_at_ ? now : now + kSettle;
  const Call call = need_list_ ? Call::List : Call::Watch;
  HttpRequest request = need_list_ ? kube::list_pods(server_, node_, kPageSize, continue_)
                                   : kube::watch_pods(server_, node_, resource_version_);
  watch_id_ = order(step, call, 1, std::move(request), {.call = call}, now);
}

// An eviction of a UID that is gone is refused, yet spends the budget of the pod that has its name now: so where names
// recur, only what the list or the watch shows at present.
bool Drain::shown_live(const PodRecord& record, Instant now) const {
  if (!name_recurs(record.pod)) return true;
  if (!record.seen || !watch_.in_flight) return false;
  return need_list_ || now >= settled_;
}

bool Drain::may_evict(const PodRecord& record, Instant now) const {
  return !record.doubtful && !record.eviction_forbidden && shown_live(record, now);
}

// The earliest tier of which a pod is still here: later ones wait for it. Before the list is whole it may be any.
Tier Drain::front_tier() const {
  if (policy_.order == DrainConfig::Order::AtOnce) return Tier::Critical;
  Tier front = listed_ ? Tier::Critical : Tier::Balanced;
  for (const auto& [uid, record] : pods_) {
    const bool aside = record.fate == Fate::Gone || record.fate == Fate::Stays || record.fate == Fate::Returned ||
                       record.fate == Fate::Forbidden;
    if (!aside) front = std::min(front, tier_of(record.pod));
  }
  return front;
}

// The instant of the pod's next request, kNever when there is none to send.
Instant Drain::due(const PodRecord& record, Tier front, Instant now) const {
  if (record.in_flight || (record.fate != Fate::Waiting && record.fate != Fate::Refused)) return kNever;
  if (shutting_down_ && record.evictions > 0) return kNever;  // the kubelet ends it, with the grace it has for it
  const Instant last = delete_at(record.pod, window_, policy_);
  if (record.deletes > 0 || record.delete_forbidden) return record.next_try;
  if (!may_evict(record, now)) return last;
  if (record.evictions == 0) {
    const Instant at = evict_at(record.pod, window_, policy_, tier_of(record.pod) <= front);
    Instant held = held_until_.value_or(at);
    if (marks_.cordon_asked() != kNever) held = std::max(held, marks_.cordon_asked() + kCordonFirst);
    return std::max(at, std::min(held, last));
  }
  // What will not be answered before D is not asked again: it would hold up the deletion.
  return record.next_try + congestion_.slowest() < last ? record.next_try : last;
}

bool Drain::wants_delete(const PodRecord& record, Instant now) const {
  if (record.delete_forbidden || shutting_down_) return false;
  return (record.evictions > 0 || !may_evict(record, now)) && now >= last_safe(record);
}

// In answers a second: each pod that waits for its first definite one is to have it before D.
double Drain::needed_pace(Instant now) const {
  std::vector<Instant> ends;
  for (const auto& [uid, record] : pods_) {
    if (record.fate == Fate::Waiting) ends.push_back(last_safe(record));
  }
  std::ranges::sort(ends);
  double pace = 0;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    const Duration left = std::max(Duration(seconds(1)), Duration(ends[i] - now));
    pace = std::max(pace, static_cast<double>(i + 1) / lastlight::seconds(left));
  }
  return pace;
}

Duration Drain::unanswered(Instant now) const {
  Duration longest{};
  for (const auto& [id, flight] : flights_) {
    if (ends_a_pod(flight.call)) longest = std::max(longest, Duration(now - flight.asked));
  }
  return longest;
}

void Drain::order_pods(DrainStep& step, Instant now) {
  // The one whose D is nearest goes first: what is late loses a second of grace with each second. A repetition is
  // none's last chance.
  struct Due {
    bool again;
    Instant last;
    bool eviction;
    PodRecord* record;
  };
  std::vector<Due> ready;
  const Tier front = front_tier();
  for (auto& [uid, record] : pods_) {
    const Instant at = due(record, front, now);
    if (at > now) {
      step.wake = std::min(step.wake, at);
    } else if (const bool last_chance = wants_delete(record, now); last_chance || may_evict(record, now)) {
      ready.push_back({!last_chance && record.evictions > 0, last_safe(record), !last_chance, &record});
    }
  }
  std::ranges::sort(ready, {}, [](const Due& due) { return std::tuple(due.again, due.last, due.eviction); });
  for (const Due& next : ready) {
    // A reply frees a place. Where requests hang none may come in time: a DELETE at D waits for no eviction's.
    if (!room() && (next.eviction || !room_for_last_chance())) continue;
    send_for(step, *next.record, now);
  }
}

// Of one request: one that hangs must leave time for another.
Duration Drain::longest_wait(Instant now) const {
  return std::max(Duration(seconds(1)), (window_.deadline - now) / 3);
}

Duration Drain::patience(Instant now) const {
  return std::min(congestion_.patience(), longest_wait(now));
}

// A request that is given up was work for nothing, for a server that is busy as it is: one that has been slow is waited
// for.
Duration Drain::least_wait(const PodRecord& record, Instant now) const {
  const Duration once = seconds(1) * (1U << std::min(record.unanswered, 3U));
  return std::min(std::max(once, 2 * congestion_.slowest()), longest_wait(now));
}

void Drain::send_for(DrainStep& step, PodRecord& record, Instant now) {
  const seconds grace = grace_at(record.pod, window_, policy_, now);
  const kube::PodRef pod{record.pod.namespace_name, record.pod.name, record.pod.uid};
  record.in_flight = true;
  if (wants_delete(record, now)) {
    ++record.deletes;
    record.asked = Fate::Deleted;
    order(step, Call::Delete, 2, kube::delete_pod(server_, pod, grace.count()),
          {.call = Call::Delete, .uid = pod.uid, .grace = grace}, now);
    return;
  }
  ++record.evictions;
  record.asked = Fate::Evicted;
  // An eviction that hangs must not hold the pod far past D.
  const Duration wait = std::max(least_wait(record, now), delete_at(record.pod, window_, policy_) - now);
  order(step, Call::Evict, 2, kube::evict_pod(server_, pod, grace.count()),
        {.call = Call::Evict, .uid = pod.uid, .grace = grace, .patience = wait}, now);
}

// A deletion sets no condition; an eviction of the same pod after it sets DisruptionTarget and nothing else, so that
// Jobs and workflow engines see a disruption and no failure. Not in the second half of a grace: its name may be another
// pod's by the time it arrives.
void Drain::order_marking(DrainStep& step, Instant now) {
  for (auto& [uid, record] : pods_) {
    if (record.fate != Fate::Deleted || record.marked || record.in_flight || record.eviction_forbidden) continue;
    if (!room_for_marking()) return;
    record.marked = true;
    if (now >= record.told_at + record.grace / 2) continue;
    record.in_flight = true;
    const kube::PodRef pod{record.pod.namespace_name, record.pod.name, uid};
    order(step, Call::Mark, 4, kube::evict_pod(server_, pod, std::nullopt), {.call = Call::Mark, .uid = uid}, now);
  }
}

}  // namespace lastlight::interrupt
