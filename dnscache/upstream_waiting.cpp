// UpstreamPool's book-keeping: zones and their upstreams, deadlines, the two queues, and what has served.
#include <algorithm>

#include "dnscache/upstream_pool.h"

namespace lastlight::dns {

void UpstreamPool::set_upstreams(std::uint32_t zone, std::vector<Endpoint> upstreams, Protocol protocol, Guard guard) {
  zones_[zone] = {std::move(upstreams), protocol, guard};
  for (auto& [endpoint, peer] : peers_)
    peer.named = peer.guarded = false;
  for (const auto& [index, each] : zones_) {
    for (const Endpoint& endpoint : each.upstreams) {
      Peer& peer = peers_[endpoint];
      peer.endpoint = endpoint;
      peer.named = true;
      peer.avoided = avoided_.contains(endpoint.address);
      peer.guarded |= each.guard == Guard::On || (each.guard == Guard::Auto && endpoint.address.is_link_local());
    }
  }
  for (auto& [endpoint, peer] : peers_) {
    if (!peer.named) peer.channels.retire_all();
  }
}

void UpstreamPool::avoid(const std::vector<IpAddress>& addresses) {
  avoided_ = {addresses.begin(), addresses.end()};
  for (auto& [endpoint, peer] : peers_)
    peer.avoided = avoided_.contains(endpoint.address);
}

bool UpstreamPool::healthy(const Endpoint& upstream) const {
  const auto peer = peers_.find(upstream);
  return peer == peers_.end() || !peer->second.health.down();
}

std::map<Endpoint, UpstreamView> UpstreamPool::view(Instant now) const {
  std::map<Endpoint, UpstreamView> out;
  for (const auto& [endpoint, peer] : peers_) {
    if (!peer.named) continue;
    out.emplace(endpoint, UpstreamView{.healthy = !peer.health.down(),
                                       .in_order = peer.channels.strict(now),
                                       .guarded = peer.guarded,
                                       .connections = peer.channels.tcp(),
                                       .median = peer.latency.median(),
                                       .p99 = peer.latency.p99()});
  }
  return out;
}

void UpstreamPool::set_deadline(FlightId id, Flight& flight, Instant when) {
  if (flight.deadline == when) return;
  flight.deadline = when;
  deadlines_.add(when, id);
  settle_deadlines();
}

void UpstreamPool::settle_deadlines() {
  deadlines_.settle(flights_.size(), [this](Instant when, FlightId id) {
    const Flight* flight = flights_.find(id);
    return flight != nullptr && flight->deadline == when;
  });
}

void UpstreamPool::finish(FlightId id, Failure why, Orders& out) {
  forget(id);
  out.push_back(Finish{id, why});
}

void UpstreamPool::forget(FlightId id) {
  if (flights_.erase(id)) settle_deadlines();
}

void UpstreamPool::forget_send(SendId send) {
  if (sent_.erase(send)) sends_.give_back(send);
}

void UpstreamPool::wait_for(Wait what, FlightId id, Flight& flight, Instant now, Orders& out) {
  std::deque<FlightId>& queue = what == Wait::Pace ? paced_ : parked_;
  const bool too_late =
      what == Wait::Pace && now + pace_.time_for((queue.size() + 1) * Pace::kUdpQuestion) > flight.end;
  if (queue.size() >= kMaxWaiting || too_late) {
    ++counters_.shed;
    if (!has_open(flight)) return finish(id, flight.why, out);
    flight.wait = Wait::Answer;
    return set_deadline(id, flight, flight.end);
  }
  flight.wait = what;
  flight.queued |= what == Wait::Pace;
  ++(what == Wait::Pace ? counters_.paced : counters_.waited);
  queue.push_back(id);
  if (what == Wait::Upstream && parked_at_ == kNever) parked_at_ = now + kParkedTick;
  set_deadline(id, flight, flight.end);
}

// In their order, those that find somebody to ask; at most so many.
void UpstreamPool::serve_parked(std::size_t most, Instant now, Orders& out) {
  auto asked = std::exchange(parked_, {});
  for (const FlightId id : asked) {
    Flight* found = flights_.find(id);
    if (found == nullptr || found->wait != Wait::Upstream) continue;
    Flight& flight = *found;
    const bool none_up =
        std::ranges::all_of(flight.upstreams, [](const Candidate& c) { return c.peer->health.down(); });
    const bool can_go = std::ranges::any_of(flight.upstreams, [&](const Candidate& c) {
      return !c.peer->health.down() || now >= c.peer->health.next_probe(none_up);
    });
    if (most == 0 || !can_go) {
      parked_.push_back(id);
      continue;
    }
    --most;
    flight.wait = Wait::Answer;
    ask(id, flight, flight.attempts == 0 ? Why::First : Why::Retry, now, out);
  }
  parked_at_ = parked_.empty() ? kNever : now + kParkedTick;
}

void UpstreamPool::serve_paced(Instant now, Orders& out) {
  while (!paced_.empty() && pace_.ready_at(Pace::kTcpConnection + Pace::kTcpQuestion, now) <= now) {
    const FlightId id = paced_.front();
    paced_.pop_front();
    Flight* found = flights_.find(id);
    if (found == nullptr || found->wait != Wait::Pace) continue;
    found->wait = Wait::Answer;
    ask(id, *found, found->attempts == 0 ? Why::First : Why::Retry, now, out);
  }
}

void UpstreamPool::on_connected(ChannelId channel) {
  std::ranges::any_of(peers_, [channel](auto& entry) { return entry.second.channels.on_connected(channel); });
}

void UpstreamPool::on_time(Instant now, Orders& out) {
  while (deadlines_.next() <= now) {
    const FlightId id = deadlines_.first();
    overdue(id, *flights_.find(id), now, out);
  }
  serve_paced(now, out);
  if (parked_at_ <= now) serve_parked(kParkedAtOnce, now, out);
  if (sweep_at_ <= now) sweep(now, out);
}

Instant UpstreamPool::next_deadline() const {
  Instant next = std::min({sweep_at_, parked_at_, deadlines_.next()});
  if (!paced_.empty()) next = std::min(next, pace_.ready_at(Pace::kTcpConnection + Pace::kTcpQuestion, Instant{}));
  return next;
}

// By a flight under way.
bool UpstreamPool::may_be_asked(const Peer& peer) const {
  bool found = false;
  flights_.for_each([&](std::size_t slot) {
    const auto& upstreams = flights_.in(slot).upstreams;
    found |= std::ranges::find(upstreams, &peer, &Candidate::peer) != upstreams.end();
  });
  return found;
}

void UpstreamPool::sweep(Instant now, Orders& out) {
  const auto awaited = [this](SendId send) {
    const Sent* found = sent_.find(send);
    return found != nullptr && flights_.contains(found->flight);
  };
  std::vector<ChannelId> closed;
  std::vector<SendId> ended;
  bool more = false;
  for (auto& [endpoint, peer] : peers_) {
    peer.channels.collect(now, turn(peer), awaited, closed, ended);
    more |= peer.channels.size() > 0;
  }
  for (const ChannelId channel : closed)
    out.push_back(Close{channel});
  for (const SendId send : ended)
    forget_send(send);
  std::erase_if(paced_, [this](FlightId id) { return !flights_.contains(id); });
  std::erase_if(peers_, [this](const auto& entry) {
    return !entry.second.named && entry.second.channels.size() == 0 && !may_be_asked(entry.second);
  });
  more |= std::ranges::any_of(peers_, [](const auto& entry) { return !entry.second.named; });
  sweep_at_ = more ? now + kSweep : kNever;
}

}  // namespace lastlight::dns
