// The calls: what is due, in which order, until when. The answers are in drain_replies.cpp.
#include "interrupt/drain.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdio>
#include <utility>

#include "interrupt/timestamp.h"

namespace lastlight::interrupt {
namespace {

constexpr std::string_view kAnnotation = "lastlight.io/interruption";
constexpr unsigned kPageSize = 20;
constexpr std::size_t kMaxEvents = 16;
constexpr auto kListSilence = std::chrono::seconds(2);

// FNV-1a: names the Event of one notice the same at every try.
std::string short_hash(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  std::array<char, 17> hex{};
  std::snprintf(hex.data(), hex.size(), "%016llx", static_cast<unsigned long long>(hash));
  return hex.data();
}

std::string event_name(std::string_view node, std::string_view reason, std::string_view id) {
  std::string name(node.substr(0, 200));  // an object's name has 253 characters at most
  while (!name.empty() && !std::isalnum(static_cast<unsigned char>(name.back())))
    name.pop_back();
  name += '.';
  for (const char c : reason)
    name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name + '.' + short_hash(id);
}

}  // namespace

Drain::Drain(std::string node, const DrainConfig& policy, const kube::Server& server, Uniform uniform)
    : node_(std::move(node)), policy_(policy), server_(server), uniform_(std::move(uniform)) {}

DrainStep Drain::start(const Notice& notice, Instant now) {
  const bool going_on = active(now);
  if (!going_on) window_.noticed = now;
  window_.deadline = notice.deadline;
  notice_ = notice;
  started_ = true;
  withdrawn_ = false;
  if (!going_on) {
    const auto left = std::chrono::round<std::chrono::seconds>(notice.deadline - now).count();
    fact(Fact::Kind::Started, now, node_, notice.id);
    tell_node(now, "Normal", "SpotInterruption",
              "Spot interruption notice received: this instance ends in " + std::to_string(left) + " s");
  }
  return advance(now);
}

DrainStep Drain::withdraw(Instant now) {
  if (active(now)) fact(Fact::Kind::Withdrawn, now, node_, notice_.id);
  withdrawn_ = true;
  return advance(now);
}

DrainStep Drain::tick(Instant now) {
  return advance(now);
}

DrainStep Drain::advance(Instant now) {
  DrainStep step;
  if (!active(now)) {
    stop_watch();
    step.cancel = std::exchange(cancel_, std::nullopt);
    return step;
  }
  announce(now);
  step.wake = window_.deadline;
  order_cordon(step, now);
  order_source(step, now);
  order_pods(step, now);
  order_events(step, now);
  step.cancel = std::exchange(cancel_, std::nullopt);
  return step;
}

void Drain::order(DrainStep& step, Call call, int priority, HttpRequest request, Flight flight, Instant now) {
  // A reply after the end is of no use to anybody.
  request.timeout = std::min(request.timeout, Duration(window_.deadline - now));
  request.connect_timeout = std::min(request.connect_timeout, request.timeout);
  const std::uint64_t id = ++last_id_;
  if (call == Call::Watch || call == Call::List) watch_id_ = id;
  if (call == Call::Evict || call == Call::Delete || call == Call::Event) ++in_flight_;
  ++counters_.requests;
  flights_.emplace(id, std::move(flight));
  step.orders.push_back({.id = id, .call = call, .priority = priority, .request = std::move(request)});
}

void Drain::order_cordon(DrainStep& step, Instant now) {
  if (cordon_.done || cordon_.hopeless || cordon_.in_flight) return;
  if (now < cordon_.next_try) {
    step.wake = std::min(step.wake, cordon_.next_try);
    return;
  }
  cordon_.in_flight = true;
  order(step, Call::Cordon, 0, kube::cordon_node(server_, node_, kAnnotation, notice_.id), {.call = Call::Cordon}, now);
}

void Drain::order_source(DrainStep& step, Instant now) {
  if (watch_.in_flight && need_list_) {
    // A server that streams a list begins at once: silence means that it never will, and no pod is known until then.
    const Instant silent = heard_watch_ + kListSilence;
    if (now < silent) {
      step.wake = std::min(step.wake, silent);
    } else {
      fact(Fact::Kind::WatchFailed, now, node_, "the list of pods is silent");
      relist();
      retry(watch_, now);
    }
  }
  if (watch_.in_flight) return;
  if (now < watch_.next_try) {
    step.wake = std::min(step.wake, watch_.next_try);
    return;
  }
  watch_.in_flight = true;
  heard_watch_ = now;
  cutter_.reset();
  const bool page = need_list_ && paged_;
  if (need_list_ && continue_.empty()) {
    for (auto& [uid, record] : pods_)
      record.seen = false;
  }
  HttpRequest request = page         ? kube::list_pods(server_, node_, kPageSize, continue_)
                        : need_list_ ? kube::stream_pods(server_, node_)
                                     : kube::watch_pods(server_, node_, resource_version_);
  const Call call = page ? Call::List : Call::Watch;
  order(step, call, 1, std::move(request), {.call = call}, now);
}

// The instant of the pod's next request, kNever when there is none to send.
Instant Drain::due(const PodRecord& record) const {
  if (record.in_flight || (record.fate != Fate::Waiting && record.fate != Fate::Refused)) return kNever;
  if (record.deletes > 0 || record.evictions == 0 || record.delete_forbidden) return record.next_try;
  const Instant last = delete_at(record.pod, window_, policy_);
  return record.eviction_forbidden ? last : std::min(record.next_try, last);
}

bool Drain::wants_delete(const PodRecord& record, Instant now) const {
  return record.evictions > 0 && !record.delete_forbidden && now >= delete_at(record.pod, window_, policy_);
}

void Drain::order_pods(DrainStep& step, Instant now) {
  struct Due {
    int urgency;  // first evictions, then deletes at their last safe instant, then repetitions
    Instant at;
    PodRecord* record;
  };
  std::vector<Due> ready;
  for (auto& [uid, record] : pods_) {
    const Instant at = due(record);
    if (at > now) {
      step.wake = std::min(step.wake, at);
    } else {
      ready.push_back({record.evictions == 0 ? 0 : wants_delete(record, now) ? 1 : 2, at, &record});
    }
  }
  std::ranges::sort(ready, {}, [](const Due& due) { return std::pair(due.urgency, due.at); });
  for (const Due& next : ready) {
    if (in_flight_ >= policy_.max_in_flight) return;  // a reply frees the place
    send_for(step, *next.record, now);
  }
}

void Drain::send_for(DrainStep& step, PodRecord& record, Instant now) {
  const std::chrono::seconds grace = grace_at(record.pod, window_, policy_, now);
  const kube::PodRef pod{record.pod.namespace_name, record.pod.name, record.pod.uid};
  record.in_flight = true;
  if (wants_delete(record, now)) {
    ++record.deletes;
    HttpRequest request = kube::delete_pod(server_, pod, grace.count());
    // One that hangs must leave time for another: a third of what is left.
    request.timeout =
        std::min(request.timeout, std::max(Duration(std::chrono::seconds(1)), (window_.deadline - now) / 3));
    order(step, Call::Delete, 3, std::move(request), {.call = Call::Delete, .uid = pod.uid, .grace = grace}, now);
    return;
  }
  ++record.evictions;
  HttpRequest request = kube::evict_pod(server_, pod, grace.count());
  // An eviction that hangs must not hold the pod past D.
  const Duration to_delete = delete_at(record.pod, window_, policy_) - now;
  request.timeout = std::min(request.timeout, std::max(Duration(std::chrono::seconds(1)), to_delete));
  order(step, Call::Evict, 2, std::move(request), {.call = Call::Evict, .uid = pod.uid, .grace = grace}, now);
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
    if (in_flight_ >= policy_.max_in_flight) return;
    call.in_flight = true;
    pending.event.time = event_time(pending.happened);
    order(step, Call::Event, 4, kube::create_event(server_, pending.event), {.call = Call::Event, .event = i}, now);
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
  if (!drained_announced_ && cordon_.done && drained()) {
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

void Drain::tell_node(Instant now, std::string type, std::string reason, std::string message) {
  if (events_.size() >= kMaxEvents) return;  // indices of those in flight stay valid
  kube::NodeEvent event{.node = node_,
                        .name = event_name(node_, reason, notice_.id),
                        .type = std::move(type),
                        .reason = std::move(reason),
                        .message = std::move(message),
                        .time = {}};
  events_.push_back({.event = std::move(event), .call = {}, .happened = now});
}

std::string Drain::event_time(Instant at) const {
  if (!server_clock_) return {};
  return format_rfc3339(server_clock_->first +
                        std::chrono::duration_cast<std::chrono::milliseconds>(at - server_clock_->second));
}

}  // namespace lastlight::interrupt
