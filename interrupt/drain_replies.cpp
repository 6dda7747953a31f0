// The answers: what each reply means for the node and its pods.
#include <algorithm>
#include <utility>

#include "interrupt/drain.h"
#include "interrupt/timestamp.h"

namespace lastlight::interrupt {
namespace {

constexpr auto kOnceRetryMax = std::chrono::seconds(1);  // cordon, watch, Events: few calls, so they may be eager
constexpr unsigned kEventTries = 5;
constexpr int kRefusalsApart = 4;  // of a pod by its budget: times what an answer takes

std::string full_name(const kube::Pod& pod) {
  return pod.namespace_name + "/" + pod.name;
}

}  // namespace

DrainStep Drain::on_reply(std::uint64_t id, const HttpReply& reply, Instant now) {
  const auto found = flights_.find(id);
  if (found == flights_.end()) return advance(now);  // cancelled before
  const Flight flight = std::move(found->second);
  flights_.erase(found);
  note_clock(reply, now);
  leave(flight.call);
  std::optional<kube::Status> refusal;
  if (!reply.ok()) refusal = kube::read_status(reply);
  if (!streams(flight.call)) note_congestion(refusal, flight, now);
  const auto record = pods_.find(flight.uid);
  if (record != pods_.end()) {
    record->second.in_flight = false;
    record->second.unanswered += reply.status == 0 ? 1 : 0;
  }
  switch (flight.call) {
    case Call::Cordon:
    case Call::Taint:
    case Call::ReadNode:
    case Call::Unmark:
      on_marks(marks_.on_reply(reply, now, uniform_()), now);
      break;
    case Call::WatchNode:
      on_node_watch_end(reply, now);
      break;
    case Call::Watch:
      on_watch_end(reply, now);
      break;
    case Call::List:
      on_page(reply, now);
      break;
    case Call::Evict:
    case Call::Delete:
      if (record != pods_.end()) on_answer(record->second, flight, refusal, now);
      break;
    case Call::Mark:
      break;  // a courtesy: whatever the answer, the pod has been told
    case Call::Event:
      on_event_created(flight.event, reply, now);
      break;
  }
  return advance(now);
}

DrainStep Drain::hear(const HttpReply& reply, Instant now) {
  note_clock(reply, now);
  return advance(now);
}

// 429 is a budget's as well; 503 and 504 are those of a server that has no time.
void Drain::note_congestion(const std::optional<kube::Status>& refusal, const Flight& flight, Instant now) {
  const int code = refusal ? refusal->code : 200;
  const bool too_many = code == 429 && !refusal->disruption_budget;
  if (code == 0 || too_many || code == 503 || code == 504) {
    congestion_.lost(flight.asked, now);
  } else if (code < 500) {
    ends_a_pod(flight.call) ? congestion_.answered_for_pod(now - flight.asked)
                            : congestion_.answered(now - flight.asked);
  }
}

void Drain::note_clock(const HttpReply& reply, Instant now) {
  if (reply.status == 0) return;
  heard_ = true;
  if (const auto date = parse_http_date(reply.header("Date"))) server_clock_.emplace(*date, now);
}

void Drain::retry(Once& call, Instant now) {
  call.next_try = now + backoff(policy_.retry_min, std::max<Duration>(policy_.retry_min, kOnceRetryMax),
                                ++call.failures, uniform_());
}

void Drain::retry(PodRecord& record, Instant now, Duration at_least) {
  const Duration wait = backoff(policy_.retry_min, policy_.retry_max, ++record.failures, uniform_());
  record.next_try = now + std::max(wait, at_least);
}

void Drain::on_marks(const std::vector<NodeMarks::Told>& told, Instant now) {
  using Happened = NodeMarks::Happened;
  for (const auto& [what, text] : told) {
    switch (what) {
      case Happened::Cordoned:
        if (!cordoned_at_) cordoned_at_ = now;
        fact(Fact::Kind::Cordoned, now, node_, text);
        tell_node(now, "Normal", "Cordon", "Node successfully cordoned");
        break;
      case Happened::CordonFailed:
        fact(Fact::Kind::CordonFailed, now, node_, text);
        if (marks_.hopeless()) {
          tell_node(now, "Warning", "CordonError", "The node could not be cordoned: " + text);
        } else {
          ++counters_.transient_errors;
        }
        break;
      case Happened::Tainted:
        fact(Fact::Kind::Tainted, now, node_, text);
        break;
      case Happened::TaintFailed:
        fact(Fact::Kind::TaintFailed, now, node_, text);
        tell_node(now, "Warning", "PreDrainError", "The node could not be tainted: " + text);
        break;
      case Happened::UncordonedByOther:
        fact(Fact::Kind::UncordonedByOther, now, node_, text);
        tell_node(now, "Warning", "CordonError", "Somebody uncordoned this node, which is about to end: " + text);
        break;
      case Happened::NodeDeleted:
        fact(Fact::Kind::NodeDeleted, now, node_, text);
        break;
      case Happened::Unmarked:
        told_unmarked_ = true;
        fact(Fact::Kind::Unmarked, now, node_, text);
        tell_node(now, "Normal", "Uncordon", "Node successfully uncordoned");
        break;
      case Happened::UnmarkFailed:
        fact(Fact::Kind::UnmarkFailed, now, node_, text);
        break;
    }
  }
}

void Drain::gone(PodRecord& record, Instant now) {
  if (std::exchange(record.fate, Fate::Gone) == Fate::Gone) return;
  record.gone_at = now;
  fact(Fact::Kind::Gone, now, full_name(record.pod));
}

void Drain::told(PodRecord& record, Fate fate, std::chrono::seconds grace, Instant now) {
  record.told = true;
  record.told_at = now;
  record.grace = grace;
  record.fate = record.by = fate;
  if (fate == Fate::Told) return;
  std::string text = "grace " + std::to_string(grace.count()) + " s";
  // Told is not the same as SIGTERM.
  if (record.pod.pre_stop) text += ", its preStop hook comes before SIGTERM";
  if (record.pod.sidecars) text += ", its sidecars get SIGTERM last";
  if (fate == Fate::Deleted && record.refused) {
    tell_pod(
        now, record.pod, "DisruptionBudgetOverridden",
        "The node ends, and the disruption budget still refused: deleted at the last instant that leaves a grace of " +
            std::to_string(grace.count()) + " s (" + record.last_error + ")");
  }
  record.last_error.clear();
  if (!record.pod.controller_uid.empty() && evicted_controllers_.size() < kMaxPods) {
    evicted_controllers_.insert(record.pod.controller_uid);
  }
  fact(fate == Fate::Deleted ? Fact::Kind::Deleted : Fact::Kind::Evicted, now, full_name(record.pod), std::move(text));
}

void Drain::on_answer(PodRecord& record, const Flight& flight, const std::optional<kube::Status>& refusal,
                      Instant now) {
  if (record.fate != Fate::Waiting && record.fate != Fate::Refused) return;  // the watch was faster
  const bool eviction = flight.call == Call::Evict;
  if (!refusal) return told(record, eviction ? Fate::Evicted : Fate::Deleted, flight.grace, now);
  if (refusal->code != 0) record.asked = Fate::Waiting;  // a definite no
  record.last_error = kube::describe(*refusal);
  eviction ? on_no_eviction(record, *refusal, now) : on_no_deletion(record, *refusal, now);
}

void Drain::on_no_eviction(PodRecord& record, const kube::Status& status, Instant now) {
  if (status.disruption_budget) {
    ++counters_.evictions_refused;
    record.refused = true;
    if (record.fate != Fate::Refused) fact(Fact::Kind::Refused, now, full_name(record.pod), status.message);
    record.fate = Fate::Refused;
    // Each refusal is work for a server that may have other nodes waiting.
    const Duration busy = std::min<Duration>(policy_.retry_max, kRefusalsApart * congestion_.usual());
    retry(record, now, std::max(busy, status.retry_after.value_or(Duration::zero())));
  } else if (status.code == 403 && !status.namespace_terminating) {
    record.eviction_forbidden = true;  // permanent; a DELETE may still be permitted
    if (record.delete_forbidden) record.fate = Fate::Forbidden;
    fact(Fact::Kind::Forbidden, now, full_name(record.pod), record.last_error);
  } else if (status.code == 404 || status.code == 409) {
    record.doubtful = true;  // gone, or another of the same name: the watch will say so
    retry(record, now, policy_.retry_max);
  } else {
    ++counters_.transient_errors;
    retry(record, now, status.retry_after.value_or(Duration::zero()));
  }
}

void Drain::on_no_deletion(PodRecord& record, const kube::Status& status, Instant now) {
  if (status.code == 403) {
    record.delete_forbidden = true;  // go on evicting while that is permitted: a budget may open
    if (record.eviction_forbidden) record.fate = Fate::Forbidden;
    fact(Fact::Kind::Forbidden, now, full_name(record.pod), record.last_error);
    retry(record, now, {});
    return;
  }
  if (status.code == 404 || status.code == 409) {
    retry(record, now, policy_.retry_max);
    return;
  }
  // Each second counts from here: a quarter of the usual ceiling, and no Retry-After.
  ++counters_.transient_errors;
  record.next_try = now + backoff(policy_.retry_min, std::max(policy_.retry_min, policy_.retry_max / 4),
                                  ++record.failures, uniform_());
}

void Drain::on_event_created(std::size_t event, const HttpReply& reply, Instant now) {
  Once& call = events_[event].call;
  call.in_flight = false;
  call.done = reply.ok() || reply.status == 409;  // 409: our own earlier try arrived
  if (call.done) return;
  const bool permanent = reply.status >= 400 && reply.status < 500 && reply.status != 401 && reply.status != 429;
  retry(call, now);
  call.hopeless = permanent || call.failures >= kEventTries;
}

}  // namespace lastlight::interrupt
