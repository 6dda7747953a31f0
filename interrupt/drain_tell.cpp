// What is told: facts for logs and metrics, Kubernetes Events, and the account of the pods.
#include <algorithm>
#include <array>
#include <utility>

#include "interrupt/drain.h"
#include "interrupt/timestamp.h"

namespace lastlight::interrupt {

std::string_view fate_name(Fate fate) {
  static constexpr std::array<std::string_view, kFates> kNames = {
      "stays", "waiting", "refused", "evicted", "deleted", "told", "forbidden", "returned", "gone"};
  return kNames.at(static_cast<std::size_t>(fate));
}

// After T nothing is asked of the API server: the machine ends, or nobody knows yet that it does not.
bool Drain::silent(Instant now) const {
  return started_ && !withdrawn_ && now < window_.deadline + kMarksOutlast;
}

void Drain::order_events(DrainStep& step, Instant now) {
  if (!heard_) return;  // until then their time, which is the server's, is not known
  for (std::size_t i = 0; i < events_.size(); ++i) {
    PendingEvent& pending = events_[i];
    Once& call = pending.call;
    if (call.done || call.hopeless || call.in_flight) continue;
    if (now < call.next_try) {
      step.wake = std::min(step.wake, call.next_try);
      continue;
    }
    if (!room_for_event()) return;
    call.in_flight = true;
    pending.event.time = event_time(pending.happened);
    order(step, Call::Event, 5, kube::create_event(server_, pending.event), {.call = Call::Event, .event = i}, now);
  }
}

bool Drain::all_told() const {
  return listed_ && std::ranges::all_of(pods_, [](const auto& entry) {
           const Fate fate = entry.second.fate;
           return fate != Fate::Waiting && fate != Fate::Refused && fate != Fate::Forbidden;
         });
}

bool Drain::drained() const {
  return listed_ && std::ranges::all_of(pods_, [](const auto& entry) {
           return entry.second.fate == Fate::Gone || entry.second.fate == Fate::Stays;
         });
}

void Drain::announce(Instant now) {
  if (!told_announced_ && all_told()) {
    told_announced_ = true;
    fact(Fact::Kind::AllTold, now, node_);
  }
  if (!drained_announced_ && marks_.cordoned() && drained()) {
    drained_announced_ = true;
    fact(Fact::Kind::Drained, now, node_);
    tell_node(now, "Normal", "CordonAndDrain", "Node successfully cordoned and drained");
  }
}

void Drain::fact(Fact::Kind kind, Instant now, std::string subject, std::string text) {
  if (facts_.size() >= kMaxFacts) {
    ++counters_.facts_lost;
    return;
  }
  facts_.push_back({.kind = kind, .at = now, .subject = std::move(subject), .text = std::move(text)});
}

std::vector<Fact> Drain::take_facts() {
  return std::exchange(facts_, {});
}

DrainStep Drain::tell_notice(const Notice& notice, Instant now) {
  std::string text = std::string(kind_name(notice.kind)) + " notice of " + notice.source;
  if (!notice.code.empty()) text += " (" + notice.code + ")";
  if (notice.deadline != kNever) {
    const auto left = std::chrono::round<std::chrono::seconds>(notice.deadline - now).count();
    text += ": " + std::string(action_name(notice.action)) + " in " + std::to_string(std::max<long>(left, 0)) + " s";
  }
  tell_node(now, notice.id, "Normal", std::string(event_reason(notice.kind)), std::move(text));
  return advance(now);
}

void Drain::tell_node(Instant now, std::string type, std::string reason, std::string message) {
  tell_node(now, saved_.notice.id, std::move(type), std::move(reason), std::move(message));
}

void Drain::tell_node(Instant now, std::string_view id, std::string type, std::string reason, std::string message) {
  tell(now, {.node = node_,
             .pod = {},
             .name = kube::event_name(node_, reason, id),
             .type = std::move(type),
             .reason = std::move(reason),
             .message = std::move(message),
             .time = {}});
}

void Drain::tell_pod(Instant now, const kube::Pod& pod, std::string reason, std::string message) {
  tell(now, {.node = node_,
             .pod = kube::PodRef{pod.namespace_name, pod.name, pod.uid},
             .name = kube::event_name(pod.name, reason, saved_.notice.id + pod.uid),
             .type = "Warning",
             .reason = std::move(reason),
             .message = std::move(message),
             .time = {}});
}

void Drain::tell(Instant now, kube::NodeEvent event) {
  const auto settled = [](const PendingEvent& each) { return each.call.done || each.call.hopeless; };
  const auto in_flight = [](const PendingEvent& each) { return each.call.in_flight; };
  if (events_.size() >= kMaxEvents && std::ranges::none_of(events_, in_flight)) std::erase_if(events_, settled);
  if (events_.size() >= kMaxEvents) {
    ++counters_.events_over_bound;
    return;
  }
  events_.push_back({.event = std::move(event), .call = {}, .happened = now});
}

DrainOutcome Drain::outcome() const {
  DrainOutcome out;
  out.listed = listed_;
  for (const auto& [uid, record] : pods_) {
    if (!record.told) {
      const bool owed = record.fate == Fate::Waiting || record.fate == Fate::Refused ||
                        record.fate == Fate::Forbidden || record.fate == Fate::Returned;
      out.never_told += owed ? 1 : 0;
      out.returned += record.fate == Fate::Returned ? 1 : 0;
      continue;
    }
    (record.by == Fate::Evicted ? out.evicted : record.by == Fate::Deleted ? out.deleted : out.joined) += 1;
    (record.fate == Fate::Gone || record.fate == Fate::Stays ? out.gone : out.running) += 1;
  }
  return out;
}

void Drain::end(Instant now) {
  const DrainOutcome o = outcome();
  fact(Fact::Kind::Ended, now, node_,
       std::to_string(o.evicted) + " evicted, " + std::to_string(o.deleted) + " deleted, " + std::to_string(o.joined) +
           " told by others; of those " + std::to_string(o.gone) + " ended and " + std::to_string(o.running) +
           " still run; never told " + std::to_string(o.never_told) + (listed_ ? "" : "; the pods were never listed"));
  for (const auto& [uid, record] : pods_) {
    const bool owed = record.fate == Fate::Waiting || record.fate == Fate::Refused || record.fate == Fate::Forbidden;
    if (owed && !record.told) {
      fact(Fact::Kind::NeverTold, now, record.pod.namespace_name + "/" + record.pod.name,
           record.last_error.empty() ? "no answer from the API server" : record.last_error);
    }
  }
}

std::string Drain::event_time(Instant at) const {
  if (!server_clock_) return {};
  return format_rfc3339(server_clock_->first +
                        std::chrono::duration_cast<std::chrono::milliseconds>(at - server_clock_->second));
}

}  // namespace lastlight::interrupt
