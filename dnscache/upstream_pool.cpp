#include "dnscache/upstream_pool.h"

#include <algorithm>
#include <tuple>

namespace lastlight::dns {

UpstreamPool::UpstreamPool(const DnsConfig& config, UpstreamChannels::Draw draw)
    : attempt_timeout_(config.attempt_timeout),
      query_timeout_(config.query_timeout),
      draw_(std::move(draw)),
      pace_(config.guard_pace) {}

void UpstreamPool::start(FlightId id, std::uint32_t zone, Instant now, Orders& out, bool too_long_for_udp) {
  const auto found = zones_.find(zone);
  if (found == zones_.end() || found->second.upstreams.empty()) {
    out.push_back(Finish{id, Failure::NoUpstream});
    return;
  }
  forget(id);
  Flight& flight = flights_.put(id);
  auto upstreams = std::exchange(flight.upstreams, {});
  upstreams.clear();
  flight = {.upstreams = std::move(upstreams)};
  for (const Endpoint& upstream : found->second.upstreams)
    flight.upstreams.push_back({&peers_.at(upstream), 0});
  flight.protocol = too_long_for_udp ? Protocol::Tcp : found->second.protocol;
  flight.end = now + query_timeout_;
  hedge_budget_ = std::min(hedge_budget_ + kHedgeShare, kHedgeSavings);
  ask(id, flight, Why::First, now, out);
}

std::pair<std::uint32_t, bool> UpstreamPool::rank(const Candidate& candidate) {
  return {candidate.tried, candidate.peer->avoided};
}

// A first attempt probes whoever is due to be probed. Otherwise the least tried of those that are up, in the configured
// order; a hedge probes nobody.
UpstreamPool::Candidate* UpstreamPool::choose(Flight& flight, Why why, Instant now) {
  const bool none_up = std::ranges::all_of(flight.upstreams, [](const Candidate& c) { return c.peer->health.down(); });
  Candidate* best = nullptr;
  for (Candidate& each : flight.upstreams) {
    UpstreamHealth& health = each.peer->health;
    const bool probe = health.down() && now >= health.next_probe(none_up);
    const bool optional = why == Why::Hedge || why == Why::Moved;
    if (probe && (why == Why::First || (!optional && none_up))) {
      health.on_probe(now);
      ++counters_.probes;
      return &each;
    }
    if (!health.down() && (best == nullptr || rank(each) < rank(*best))) best = &each;
  }
  return best;
}

// The same upstream again, by another way: past a connection that answers in order by UDP, and past whatever keeps UDP
// from getting through by TCP.
Protocol UpstreamPool::protocol_for(const Flight& flight, const Candidate& candidate, Instant now) const {
  if (flight.tcp_asked || candidate.tried >= 2) return Protocol::Tcp;
  if (candidate.tried == 1 && flight.protocol == Protocol::Tcp && candidate.peer->channels.strict(now))
    return Protocol::Udp;
  return flight.protocol;
}

void UpstreamPool::ask(FlightId id, Flight& flight, Why why, Instant now, Orders& out) {
  Candidate* to = choose(flight, why, now);
  const bool optional = why == Why::Hedge || why == Why::Moved;
  if (to == nullptr) {
    if (optional) return set_deadline(id, flight, std::min(now + kParkedTick, flight.turn_ends));
    return wait_for(Wait::Upstream, id, flight, now, out);
  }
  if (send(id, flight, *to, protocol_for(flight, *to, now), why, now, out)) {
    ++flight.attempts;
    ++to->tried;
    ++counters_.attempts;
    if (why != Why::First) ++counters_.retries;
    if (why == Why::Hedge) ++counters_.hedges;
    if (why == Why::Hedge) hedge_budget_ -= 1;
    if (why == Why::Moved) ++counters_.moved;
  } else if (optional) {
    ++counters_.hedges_refused;
    set_deadline(id, flight, flight.turn_ends);
  } else {
    wait_for(Wait::Pace, id, flight, now, out);
  }
}

// False when the pace forbids it now.
bool UpstreamPool::send(FlightId id, Flight& flight, Candidate& to, Protocol protocol, Why why, Instant now,
                        Orders& out) {
  Peer& peer = *to.peer;
  if (peer.guarded) {
    const std::uint32_t most =
        protocol == Protocol::Udp ? Pace::kUdpQuestion : Pace::kTcpConnection + Pace::kTcpQuestion;
    if ((!flight.queued && !paced_.empty()) || pace_.ready_at(most, now) > now) return false;
  }
  const auto place = this->place(peer, flight, protocol, why, now);
  if (place.fresh) {
    ++last_channel_;
    sweep(now, out);  // those it replaces go at once, or a flood of names would keep a second's worth of them
  }
  const SendId send = sends_.issue();
  const bool over_tcp = place.protocol == Protocol::Tcp;
  if (peer.guarded) {
    const std::uint32_t connection = place.fresh ? Pace::kTcpConnection : 0;
    pace_.take(over_tcp ? Pace::kTcpQuestion + connection : Pace::kUdpQuestion, now);
  }
  if (protocol != place.protocol) ++counters_.udp_overflows;
  peer.channels.sent(place.channel, send, now);
  sent_.put(send) = {id, &peer, place.channel, now, false};
  flight.asked = now;
  flight.sends[flight.sent++] = send;
  flight.wait = Wait::Answer;
  flight.behind = over_tcp && place.ahead > 0 && peer.channels.strict(now);
  flight.turn_ends = std::min(now + turn(peer), flight.end);
  set_deadline(id, flight, std::min(next_look(flight, peer, place, now), flight.turn_ends));
  out.push_back(Send{send, id, place.channel, peer.endpoint, place.protocol});
  return true;
}

// What was refused, or not answered, goes by a channel that was heard since, or by a new one.
UpstreamChannels::Place UpstreamPool::place(Peer& peer, const Flight& flight, Protocol protocol, Why why, Instant now) {
  UpstreamChannels::Wanted wanted{.protocol = protocol};
  std::vector<ChannelId> tried;
  if (why != Why::First) {
    wanted.alive_since = flight.asked;
    for (std::uint32_t i = 0; i < flight.sent; ++i) {
      if (const Sent* sent = sent_.find(flight.sends[i])) tried.push_back(sent->channel);
    }
    wanted.but = tried;
  }
  return peer.channels.place(wanted, peer.latency, now, last_channel_ + 1, draw_);
}

// When an answer to the last send is late.
Instant UpstreamPool::next_look(const Flight& flight, const Peer& peer, const UpstreamChannels::Place& place,
                                Instant now) const {
  const LearnedLatency& latency = peer.latency;
  const Instant connected = peer.channels.connecting(place.channel) ? now + latency.connect() : kNever;
  if (flight.behind) return now + latency.patience() + latency.median() * static_cast<int>(place.ahead);
  if (!latency.known()) return connected;  // nothing learned: no hedge
  const Duration late =
      flight.attempts == 0 ? latency.hedge() : std::max<Duration>(2 * latency.hedge(), kLeastSecondHedge);
  return std::min(now + late, connected);
}

std::optional<FlightId> UpstreamPool::on_reply(SendId send, Reply reply, Instant now, Orders& out) {
  const Sent* found = sent_.find(send);
  if (found == nullptr) return std::nullopt;
  const Sent sent = *found;
  forget_send(send);
  Peer& peer = *sent.peer;
  peer.health.on_reply(now);
  const auto heard = peer.channels.on_reply(sent.channel, send, sent.at, now);
  if (heard) peer.latency.add(heard->taken);
  if (reply == Reply::FormatError) peer.channels.retire(sent.channel);
  const auto answered = take(send, sent, reply, heard && heard->over_tcp, now, out);
  if (!parked_.empty()) serve_parked(2, now, out);  // those that still wait
  return answered;
}

std::optional<FlightId> UpstreamPool::take(SendId send, const Sent& sent, Reply reply, bool over_tcp, Instant now,
                                           Orders& out) {
  Flight* waits = flights_.find(sent.flight);
  if (waits == nullptr) {
    ++counters_.late;
    return std::nullopt;
  }
  Flight& flight = *waits;
  if (reply != Reply::Truncated) {
    // Of an earlier attempt too: an answer that took long is still the answer. Those that were passed are judged now,
    // since nobody will wait for their turn to end.
    if (send != flight.sends[0]) ++counters_.hedges_won;
    if (flight.attempts > 1) sent.peer->second_wins += kForget * ((send != flight.sends[0]) - sent.peer->second_wins);
    for (std::uint32_t i = 0; i < flight.sent && flight.sends[i] < send; ++i)
      turn_over(flight.sends[i], now);
    forget(sent.flight);
    return sent.flight;
  }
  if (over_tcp) {
    finish(sent.flight, Failure::Truncated, out);
  } else if (!flight.tcp_asked && now < flight.end) {
    flight.tcp_asked = true;
    const auto candidate = std::ranges::find(flight.upstreams, sent.peer, &Candidate::peer);
    flight.queued = true;
    if (this->send(sent.flight, flight, *candidate, Protocol::Tcp, Why::First, now, out)) {
      ++counters_.tcp_fallbacks;
    } else {
      wait_for(Wait::Pace, sent.flight, flight, now, out);
    }
  }
  return std::nullopt;
}

void UpstreamPool::on_failure(SendId send, Failure why, Instant now, Orders& out) {
  const Sent* found = sent_.find(send);
  if (found == nullptr) return;
  const Sent sent = *found;
  forget_send(send);
  const auto told = sent.peer->channels.on_failure(sent.channel, send);
  if (why == Failure::Timeout) return;  // the transport's clean-up: its turn was over long ago
  ++counters_.network_errors;
  if (told.tells) blame(*sent.peer, sent.at, true, now);
  failed(send, sent, why, told.reached, now, out);
}

void UpstreamPool::failed(SendId send, const Sent& sent, Failure why, bool reached, Instant now, Orders& out) {
  Flight* waits = flights_.find(sent.flight);
  if (waits == nullptr) return;
  Flight& flight = *waits;
  const bool last = flight.sent > 0 && send == flight.sends[flight.sent - 1];
  flight.why = why;
  if (!reached) {
    const auto end = std::remove(flight.sends.begin(), flight.sends.begin() + flight.sent, send);
    flight.sent = static_cast<std::uint32_t>(end - flight.sends.begin());
    if (flight.attempts > 0) --flight.attempts;
    ++flight.refused;
    ++counters_.refused;
  }
  if (flight.wait == Wait::Answer && (last || !has_open(flight)))
    again(sent.flight, flight, now - sent.at < kParkedTick, now, out);
}

// The last attempt has failed; quickly: others would, too, and cost as little.
void UpstreamPool::again(FlightId id, Flight& flight, bool quickly, Instant now, Orders& out) {
  const bool refused = flight.why == Failure::Network;
  // Refused by one backend of an address, as likely as not, behind which others answer.
  const bool others =
      refused && flight.refused < kMaxRefused &&
      std::ranges::any_of(flight.upstreams, [&](const auto& c) { return c.peer->health.spoke_lately(now); });
  const bool room = flight.attempts < kMaxAttempts && flight.sent < flight.sends.size() && now < flight.end;
  const bool rest = quickly && flight.refused > 0 && flight.refused % kRefusedAtOnce == 0;
  if (room && (others ? !rest : flight.attempts + flight.refused < kMaxAttempts)) {
    ask(id, flight, refused ? Why::Refused : Why::Retry, now, out);
  } else if (room && others) {
    wait_for(Wait::Upstream, id, flight, now, out);
  } else if (has_open(flight) && now < flight.end) {
    set_deadline(id, flight, flight.end);  // an earlier one may still be answered
  } else {
    finish(id, flight.why, out);
  }
}

void UpstreamPool::overdue(FlightId id, Flight& flight, Instant now, Orders& out) {
  if (now >= flight.end || flight.wait != Wait::Answer) {
    if (flight.wait == Wait::Answer && flight.sent > 0) turn_over(flight.sends[flight.sent - 1], now);
    if (flight.wait != Wait::Pace && flight.why != Failure::Network) flight.why = Failure::Timeout;
    return finish(id, flight.why, out);
  }
  if (give_up_unreachable(id, now, out)) return;
  if (now < flight.turn_ends) {  // it is late, but its turn goes on
    const bool may = may_hedge(flight, now);
    if (may && flight.behind) {
      const Sent* behind = sent_.find(flight.sends[flight.sent - 1]);
      if (behind != nullptr) behind->peer->channels.on_moved(behind->channel);
      return ask(id, flight, Why::Moved, now, out);
    }
    if (may && hedge_budget_ >= 1) return ask(id, flight, Why::Hedge, now, out);
    if (may) ++counters_.hedges_refused;
    // The budget grows, and the upstream may be heard again, long before a turn ends that slow names have made long.
    const Instant look = flight.attempts < kMaxAttempts ? now + kHedgeTick : kNever;
    return set_deadline(id, flight, std::min(look, flight.turn_ends));
  }
  if (flight.sent > 0) turn_over(flight.sends[flight.sent - 1], now);
  flight.why = Failure::Timeout;
  again(id, flight, false, now, out);
}

// Each question on a connection that does not come about is as good as refused. True: this one has been seen to.
bool UpstreamPool::give_up_unreachable(FlightId id, Instant now, Orders& out) {
  const Flight& flight = *flights_.find(id);
  const auto sends = flight.sends;
  const std::uint32_t count = flight.sent;
  bool seen_to = false;
  for (std::uint32_t i = 0; i < count; ++i) {
    const Sent* found = sent_.find(sends[i]);
    if (found == nullptr) continue;
    const Sent sent = *found;
    UpstreamChannels& channels = sent.peer->channels;
    const Duration limit = std::min(sent.peer->latency.connect(), turn(*sent.peer));
    if (!channels.connecting(sent.channel) || now - sent.at < limit) continue;
    if (!channels.unreachable(sent.channel, limit, now)) {
      set_deadline(id, *flights_.find(id), now + kLoopTurn);
      return true;
    }
    ++counters_.unreachable;
    blame(*sent.peer, sent.at, true, now);
    const std::vector<SendId> lost = channels.waiting(sent.channel);
    channels.forget(sent.channel);
    out.push_back(Close{sent.channel});
    for (const SendId send : lost) {
      const Sent* of = sent_.find(send);
      if (of == nullptr) continue;
      const Sent each = *of;
      const Flight* mine = each.flight == id ? flights_.find(id) : nullptr;
      seen_to |= mine != nullptr && send == mine->sends[mine->sent - 1];
      forget_send(send);
      failed(send, each, Failure::Network, false, now, out);
    }
    if (seen_to) return true;
  }
  return false;
}

void UpstreamPool::turn_over(SendId send, Instant now) {
  Sent* found = sent_.find(send);
  if (found == nullptr || found->judged) return;
  Sent& silent = *found;
  silent.judged = true;
  ++counters_.timeouts;
  const bool whole = now - silent.at >= turn(*silent.peer);
  if (silent.peer->channels.on_silence(silent.channel, silent.at, whole)) move_from(silent, now);
  blame(*silent.peer, silent.at, false, now);
}

// Its other questions need not wait for turns of their own.
void UpstreamPool::move_from(const Sent& silent, Instant now) {
  for (const SendId send : silent.peer->channels.waiting(silent.channel)) {
    const Sent* of = sent_.find(send);
    if (of == nullptr || of->flight == silent.flight) continue;
    Flight* waits = flights_.find(of->flight);
    if (waits == nullptr || waits->wait != Wait::Answer) continue;
    Flight& flight = *waits;
    if (flight.attempts != 1 || send != flight.sends[flight.sent - 1]) continue;
    flight.behind = true;
    set_deadline(of->flight, flight, now);
  }
}

void UpstreamPool::blame(Peer& peer, Instant sent, bool refused, Instant now) {
  if (peer.health.on_failure(sent, refused, now)) ++counters_.breaker_opened;
}

Duration UpstreamPool::turn(const Peer& peer) const {
  return std::min(std::max(4 * peer.latency.p99(), kLeastTurn), attempt_timeout_);
}

bool UpstreamPool::has_open(const Flight& flight) const {
  return std::any_of(flight.sends.begin(), flight.sends.begin() + flight.sent,
                     [this](SendId send) { return sent_.contains(send); });
}

// The third attempt goes early when the upstream answers others, so that the last one is lost or slow, and more likely
// lost; or when it goes over TCP, since a connection that does not come about is no attempt.
bool UpstreamPool::may_hedge(Flight& flight, Instant now) {
  if (flight.attempts != 2) return flight.attempts == 1;
  const Sent* last = sent_.find(flight.sends[flight.sent - 1]);
  if (last != nullptr && last->peer->second_wins < kOfUse && all_ways_heard(flight)) return false;
  if (last != nullptr && last->peer->health.heard() > last->at) return true;
  const Candidate* to = choose(flight, Why::Hedge, now);
  return to != nullptr && protocol_for(flight, *to, now) == Protocol::Tcp;
}

// Others were answered on each of its channels since, so that none leads to a backend that is gone.
bool UpstreamPool::all_ways_heard(const Flight& flight) const {
  return std::all_of(flight.sends.begin(), flight.sends.begin() + flight.sent, [this](SendId send) {
    const Sent* sent = sent_.find(send);
    return sent != nullptr && !sent->peer->channels.silent_since(sent->channel, sent->at);
  });
}

}  // namespace lastlight::dns
