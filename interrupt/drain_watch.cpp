// Lists and watches: what the API server shows of the pods of this node, and of the node.
#include <algorithm>
#include <utility>

#include "interrupt/drain.h"
#include "interrupt/timestamp.h"

namespace lastlight::interrupt {
namespace {

std::string full_name(const kube::Pod& pod) {
  return pod.namespace_name + "/" + pod.name;
}

// No repetition helps: no such right, no such parameter.
bool denied(int status) {
  return status >= 400 && status < 500 && status != 401 && status != 408 && status != 410 && status != 429;
}

// How the kubelet's graceful shutdown (KEP-2000) ends a pod: with its grace.
bool stopped_by_kubelet(const kube::Pod& pod) {
  return pod.phase == "Failed" &&
         (pod.reason == "Terminated" || pod.reason == "NodeShutdown" || pod.reason == "Shutdown");
}

}  // namespace

void Drain::on_node_watch_end(const HttpReply& reply, Instant now) {
  node_watch_.in_flight = false;
  ++counters_.watches_ended;
  node_watch_.hopeless = denied(reply.status);
  if (node_watch_.hopeless) {
    fact(Fact::Kind::WatchFailed, now, node_, "the node cannot be watched: " + kube::describe(reply));
  }
  retry(node_watch_, now);
}

void Drain::on_node_line(std::string_view line, Instant now) {
  const auto event = kube::read_node_watch_event(line);
  if (!event) {
    ++counters_.unreadable_events;
    return;
  }
  node_watch_.failures = 0;
  if (!event->node) return;
  if (event->type == kube::WatchEvent::Type::Deleted) {
    on_marks(marks_.on_deleted(now), now);
    return;
  }
  if (event->node->shutting_down && !std::exchange(shutting_down_, true)) {
    fact(Fact::Kind::KubeletStops, now, node_, "the kubelet shuts down and stops the pods itself");
  }
  on_marks(marks_.on_node(*event->node, now), now);
}

void Drain::stop_node_watch() {
  if (!std::exchange(node_watch_.in_flight, false)) return;
  flights_.erase(node_watch_id_);
  cancel_.push_back(node_watch_id_);
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
  if (denied(status)) need_list_ = true;  // it does not like our resourceVersion
  if (!reply.ok() && watch_.failures == 0) {
    fact(Fact::Kind::WatchFailed, now, node_, kube::describe(reply));
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
      fact(Fact::Kind::WatchFailed, now, node_, reply.ok() ? page.error() : kube::describe(reply));
    }
    retry(watch_, now);
    return;
  }
  watch_answers(now);
  for (const kube::Pod& pod : page->pods)
    on_pod(pod, false, now);
  continue_ = std::move(page->continue_token);
  if (!continue_.empty()) return;
  resource_version_ = std::move(page->resource_version);
  list_ended(now);
}

DrainStep Drain::on_watch_bytes(std::uint64_t id, std::string_view bytes, Instant now) {
  if (id == node_watch_id_ && node_watch_.in_flight) {
    node_cutter_.feed(bytes, [&](std::string_view line) { on_node_line(line, now); });
    return advance(now);
  }
  if (id != watch_id_ || !watch_.in_flight) return advance(now);
  settled_ = std::min(settled_, now);
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
  watch_answers(now);
  if (event->pod) on_pod(*event->pod, event->type == kube::WatchEvent::Type::Deleted, now);
  if (!event->resource_version.empty()) resource_version_ = event->resource_version;
}

// After an outage the watch may be the first to be answered: the cordon must not sit out its back-off meanwhile.
void Drain::watch_answers(Instant now) {
  if (std::exchange(watch_.failures, 0) > 0) marks_.hurry(now);
}

void Drain::list_ended(Instant now) {
  // To watch from nothing would begin at an arbitrary version: without one the next request lists again.
  need_list_ = resource_version_.empty();
  listed_at_ = settled_ = now;
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
  cancel_.push_back(std::exchange(watch_id_, 0));
}

bool Drain::make_room() {
  if (pods_.size() < kMaxPods) return true;
  std::erase_if(pods_, [](const auto& entry) { return entry.second.fate == Fate::Gone && !entry.second.in_flight; });
  if (pods_.size() < kMaxPods) return true;
  ++counters_.pods_over_bound;
  return false;
}

// Made at first sight; null for what need not be known.
PodRecord* Drain::record_of(const kube::Pod& pod, bool deleted, Instant now) {
  if (const auto found = pods_.find(pod.uid); found != pods_.end()) return &found->second;
  if (deleted || !make_room()) return nullptr;
  PodRecord& record = pods_[pod.uid];
  record.first_seen = now;
  told_announced_ = false;
  // It came after the list, so past the cordon or in its moment. One that tolerates the cordon would be put back again
  // and again.
  if (listed_ && pod.tolerates_cordon && evicted_controllers_.contains(pod.controller_uid)) {
    record.fate = Fate::Returned;
    fact(Fact::Kind::Returned, now, full_name(pod),
         pod.controller_kind + " " + pod.controller_name + " tolerates the cordon and put it back: left");
  }
  return &record;
}

void Drain::on_pod(const kube::Pod& pod, bool deleted, Instant now) {
  PodRecord* record = record_of(pod, deleted, now);
  if (record == nullptr) return;
  record->pod = pod;
  record->seen = true;
  record->doubtful = false;
  if (deleted) {
    gone(*record, now);
    return;
  }
  if (record->fate == Fate::Gone) return;  // an older event after a list that had it gone
  switch (choose(pod)) {
    case Choice::StaysFinished:
      if (stopped_by_kubelet(pod) && !record->told) told(*record, Fate::Told, {}, now);
      [[fallthrough]];
    case Choice::StaysDaemonSet:
    case Choice::StaysMirror:
      record->fate = Fate::Stays;
      break;
    case Choice::Told:
      if (!record->told) terminates(*record, now);
      break;
    case Choice::Evict:
      break;
  }
}

// By a request of ours whose answer is on its way or was lost, since the watch is often faster; or by somebody else.
void Drain::terminates(PodRecord& record, Instant now) {
  const bool ours = record.asked != Fate::Waiting;
  told(record, ours ? record.asked : Fate::Told, std::chrono::seconds(record.pod.deletion_grace_seconds), now);
  if (ours) return;
  const auto ends = parse_rfc3339(record.pod.deletion_timestamp);
  if (!ends || !server_clock_) return;
  const Instant at = server_clock_->second + (*ends - server_clock_->first);
  if (at <= window_.deadline) return;
  const auto late = std::chrono::ceil<std::chrono::seconds>(at - window_.deadline).count();
  fact(Fact::Kind::Outlives, now, full_name(record.pod),
       "it terminates with a grace that ends " + std::to_string(late) + " s after the node");
}

}  // namespace lastlight::interrupt
