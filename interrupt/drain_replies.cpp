// The answers: what each reply and each watch event means for the node and its pods. The calls are in drain.cpp.
#include <algorithm>
#include <utility>

#include "interrupt/drain.h"
#include "interrupt/timestamp.h"

namespace lastlight::interrupt {
namespace {

constexpr auto kOnceRetryMax = std::chrono::seconds(1);  // cordon, watch, Events: few calls, so they may be eager
constexpr unsigned kEventTries = 5;

std::string full_name(const kube::Pod& pod) {
  return pod.namespace_name + "/" + pod.name;
}

std::string describe(const kube::Status& status) {
  return std::to_string(status.code) + " " + status.message;
}

}  // namespace

DrainStep Drain::on_reply(std::uint64_t id, const HttpReply& reply, Instant now) {
  const auto found = flights_.find(id);
  if (found == flights_.end()) return advance(now);  // cancelled before
  const Flight flight = std::move(found->second);
  flights_.erase(found);
  if (reply.status != 0) {
    heard_ = true;
    if (const auto date = parse_http_date(reply.header("Date"))) server_clock_.emplace(*date, now);
  }
  if (flight.call == Call::Evict || flight.call == Call::Delete || flight.call == Call::Event) --in_flight_;
  const auto record = pods_.find(flight.uid);
  if (record != pods_.end()) record->second.in_flight = false;
  switch (flight.call) {
    case Call::Cordon:
      on_cordon(reply, now);
      break;
    case Call::Watch:
      on_watch_end(reply, now);
      break;
    case Call::List:
      on_page(reply, now);
      break;
    case Call::Evict:
      if (record != pods_.end()) on_evict(record->second, flight, reply, now);
      break;
    case Call::Delete:
      if (record != pods_.end()) on_delete(record->second, flight, reply, now);
      break;
    case Call::Event:
      on_event_created(flight.event, reply, now);
      break;
  }
  return advance(now);
}

void Drain::retry(Once& call, Instant now) {
  call.next_try = now + backoff(policy_.retry_min, std::max<Duration>(policy_.retry_min, kOnceRetryMax),
                                ++call.failures, uniform_());
}

void Drain::retry(PodRecord& record, Instant now, Duration at_least) {
  const Duration wait = backoff(policy_.retry_min, policy_.retry_max, ++record.failures, uniform_());
  record.next_try = now + std::max(wait, at_least);
}

void Drain::on_cordon(const HttpReply& reply, Instant now) {
  cordon_.in_flight = false;
  if (reply.ok()) {
    cordon_.done = true;
    fact(Fact::Kind::Cordoned, now, node_);
    tell_node(now, "Normal", "Cordon", "Node successfully cordoned");
    return;
  }
  const kube::Status status = kube::read_status(reply);
  // No right, or an admission denial: no repetition helps. The pods can be told all the same.
  cordon_.hopeless = reply.status == 403 || reply.status == 422;
  if (!cordon_.hopeless) ++counters_.transient_errors;
  if (cordon_.hopeless || cordon_.failures == 0) fact(Fact::Kind::CordonFailed, now, node_, describe(status));
  if (cordon_.hopeless) tell_node(now, "Warning", "CordonError", "The node could not be cordoned: " + describe(status));
  retry(cordon_, now);
}

void Drain::on_watch_end(const HttpReply& reply, Instant now) {
  watch_.in_flight = false;
  ++counters_.watches_ended;
  cutter_.reset();
  const int status = reply.status;
  if (status == 410) {
    relist();
    return;
  }
  const bool denied = status >= 400 && status < 500 && status != 401 && status != 408 && status != 429;
  if (denied && need_list_ && !paged_) {
    paged_ = true;  // no streaming list here, or not for us: ask in pages at once
    return;
  }
  if (denied && !need_list_) need_list_ = true;  // it does not like our resourceVersion
  if (!reply.ok() && watch_.failures == 0) {
    fact(Fact::Kind::WatchFailed, now, node_, describe(kube::read_status(reply)));
  }
  retry(watch_, now);
}

void Drain::on_page(const HttpReply& reply, Instant now) {
  watch_.in_flight = false;
  if (reply.status == 410) {  // the continue token is too old
    relist();
    retry(watch_, now);
    return;
  }
  auto page = reply.ok() ? kube::read_pod_page(reply.body) : std::unexpected(std::string());
  if (!page) {
    if (reply.ok()) ++counters_.unreadable_events;
    ++counters_.transient_errors;
    if (watch_.failures == 0) {
      fact(Fact::Kind::WatchFailed, now, node_, reply.ok() ? page.error() : describe(kube::read_status(reply)));
    }
    retry(watch_, now);
    return;
  }
  watch_.failures = 0;
  for (const kube::Pod& pod : page->pods)
    on_pod(pod, false, now);
  continue_ = std::move(page->continue_token);
  if (!continue_.empty()) return;
  resource_version_ = std::move(page->resource_version);
  list_ended(now);
}

DrainStep Drain::on_watch_bytes(std::uint64_t id, std::string_view bytes, Instant now) {
  if (id != watch_id_ || !watch_.in_flight) return advance(now);
  heard_watch_ = now;
  const std::uint64_t oversized = cutter_.oversized();
  cutter_.feed(bytes, [&](std::string_view line) {
    if (watch_id_ == id) on_line(line, now);  // a relist in between makes the rest stale
  });
  // An event was lost with the line, so what follows it cannot be trusted to be whole.
  if (watch_id_ == id && cutter_.oversized() != oversized) relist();
  return advance(now);
}

void Drain::on_line(std::string_view line, Instant now) {
  const auto event = kube::read_watch_event(line);
  if (!event) {
    ++counters_.unreadable_events;
    relist();
    retry(watch_, now);
    return;
  }
  if (event->type == kube::WatchEvent::Type::Error) {  // 410 Gone: history was compacted
    relist();
    if (event->status.code != 410) retry(watch_, now);
    return;
  }
  watch_.failures = 0;
  if (event->pod) on_pod(*event->pod, event->type == kube::WatchEvent::Type::Deleted, now);
  if (!event->resource_version.empty()) resource_version_ = event->resource_version;
  if (event->initial_events_end && need_list_) list_ended(now);
}

void Drain::list_ended(Instant now) {
  // To watch from nothing would begin at an arbitrary version: without one the next request lists again.
  need_list_ = resource_version_.empty();
  if (!std::exchange(listed_, true)) fact(Fact::Kind::Listed, now, node_, std::to_string(pods_.size()) + " pods");
  for (auto& [uid, record] : pods_) {
    if (!record.seen) gone(record, now);
  }
}

void Drain::relist() {
  ++counters_.relists;
  stop_watch();
  need_list_ = true;
  continue_.clear();
}

void Drain::stop_watch() {
  if (!watch_.in_flight) return;
  watch_.in_flight = false;
  flights_.erase(watch_id_);
  cancel_ = std::exchange(watch_id_, 0);
}

bool Drain::make_room() {
  if (pods_.size() < kMaxPods) return true;
  std::erase_if(pods_, [](const auto& entry) { return entry.second.fate == Fate::Gone && !entry.second.in_flight; });
  if (pods_.size() < kMaxPods) return true;
  ++counters_.pods_over_bound;
  return false;
}

void Drain::on_pod(const kube::Pod& pod, bool deleted, Instant now) {
  auto found = pods_.find(pod.uid);
  if (found == pods_.end()) {
    if (deleted || !make_room()) return;
    found = pods_.emplace(pod.uid, PodRecord{}).first;
    found->second.first_seen = now;
    told_announced_ = false;
  }
  PodRecord& record = found->second;
  record.pod = pod;
  record.seen = true;
  if (deleted) {
    gone(record, now);
    return;
  }
  if (record.fate == Fate::Gone) return;  // an older event after a list that had it gone
  switch (choose(pod)) {
    case Choice::StaysDaemonSet:
    case Choice::StaysMirror:
    case Choice::StaysFinished:
      record.fate = Fate::Stays;
      break;
    case Choice::Told:
      if (!record.told) told(record, Fate::Told, std::chrono::seconds(pod.deletion_grace_seconds), now);
      break;
    case Choice::Evict:
      break;
  }
}

void Drain::gone(PodRecord& record, Instant now) {
  if (std::exchange(record.fate, Fate::Gone) != Fate::Gone) fact(Fact::Kind::Gone, now, full_name(record.pod));
}

void Drain::told(PodRecord& record, Fate fate, std::chrono::seconds grace, Instant now) {
  record.told = true;
  record.told_at = now;
  record.grace = grace;
  record.fate = fate;
  record.last_error.clear();
  if (fate == Fate::Told) return;
  fact(fate == Fate::Deleted ? Fact::Kind::Deleted : Fact::Kind::Evicted, now, full_name(record.pod),
       "grace " + std::to_string(grace.count()) + " s");
}

void Drain::on_evict(PodRecord& record, const Flight& flight, const HttpReply& reply, Instant now) {
  if (record.fate != Fate::Waiting && record.fate != Fate::Refused) return;  // the watch was faster
  if (reply.ok()) {
    told(record, Fate::Evicted, flight.grace, now);
    return;
  }
  const kube::Status status = kube::read_status(reply);
  record.last_error = describe(status);
  if (status.disruption_budget) {
    ++counters_.evictions_refused;
    if (record.fate != Fate::Refused) fact(Fact::Kind::Refused, now, full_name(record.pod), status.message);
    record.fate = Fate::Refused;
    retry(record, now, status.retry_after.value_or(Duration::zero()));
  } else if (reply.status == 403 && !status.namespace_terminating) {
    record.eviction_forbidden = true;  // permanent; a DELETE may still be permitted
    if (record.delete_forbidden) record.fate = Fate::Forbidden;
    fact(Fact::Kind::Forbidden, now, full_name(record.pod), record.last_error);
  } else if (reply.status == 404 || reply.status == 409) {
    // Gone, or another of the same name. A stale UID spends the budget all the same, so wait for the watch to say so.
    retry(record, now, policy_.retry_max);
  } else {
    ++counters_.transient_errors;
    retry(record, now, status.retry_after.value_or(Duration::zero()));
  }
}

void Drain::on_delete(PodRecord& record, const Flight& flight, const HttpReply& reply, Instant now) {
  if (record.fate != Fate::Waiting && record.fate != Fate::Refused) return;
  if (reply.ok()) {
    told(record, Fate::Deleted, flight.grace, now);
    return;
  }
  const kube::Status status = kube::read_status(reply);
  record.last_error = describe(status);
  if (reply.status == 403) {
    record.delete_forbidden = true;  // go on evicting while that is permitted: a budget may open
    if (record.eviction_forbidden) record.fate = Fate::Forbidden;
    fact(Fact::Kind::Forbidden, now, full_name(record.pod), record.last_error);
    retry(record, now, {});
    return;
  }
  if (reply.status == 404 || reply.status == 409) {
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
