#include "dnscache/upstream_pool.h"

#include <algorithm>
#include <tuple>

namespace lastlight::dns {

UpstreamPool::UpstreamPool(Duration attempt_timeout, Duration query_timeout)
    : attempt_timeout_(attempt_timeout), query_timeout_(query_timeout) {}

void UpstreamPool::set_upstreams(std::uint32_t zone, std::vector<Endpoint> upstreams, Protocol protocol) {
  zones_[zone] = {std::move(upstreams), protocol};
  std::erase_if(health_, [this](const auto& entry) {
    return std::ranges::none_of(zones_, [&](const auto& z) {
      return std::ranges::find(z.second.upstreams, entry.first) != z.second.upstreams.end();
    });
  });
}

std::map<Endpoint, bool> UpstreamPool::health() const {
  std::map<Endpoint, bool> out;
  for (const auto& [index, zone] : zones_) {
    for (const Endpoint& upstream : zone.upstreams)
      out.emplace(upstream, healthy(upstream));
  }
  return out;
}

UpstreamPool::Order UpstreamPool::start(FlightId id, std::uint32_t zone, Instant now) {
  const auto found = zones_.find(zone);
  if (found == zones_.end() || found->second.upstreams.empty()) return Finish{id, Failure::NoUpstream};
  forget(id);
  Flight& flight = flights_[id];
  flight.upstreams = found->second.upstreams;
  flight.protocol = found->second.protocol;
  flight.tried.assign(flight.upstreams.size(), 0);
  flight.end = now + query_timeout_;
  ++flight.fresh;
  return send(id, flight, choose(flight, now), flight.protocol, now);
}

// The least tried in this flight; among those the healthy before the failed; then the configured order.
std::size_t UpstreamPool::choose(const Flight& flight, Instant now) {
  std::size_t best = 0;
  auto rank = [&](std::size_t i) {
    const auto health = health_.find(flight.upstreams[i]);
    const bool last = health != health_.end() && health->second.down && now < health->second.retry_at;
    return std::tuple(flight.tried[i], last, i);
  };
  for (std::size_t i = 1; i < flight.upstreams.size(); ++i) {
    if (rank(i) < rank(best)) best = i;
  }
  // On probation: this question tries it, the others go elsewhere meanwhile.
  const auto health = health_.find(flight.upstreams[best]);
  if (health != health_.end() && health->second.down)
    health->second.retry_at = std::max(health->second.retry_at, now + attempt_timeout_);
  return best;
}

UpstreamPool::Order UpstreamPool::send(FlightId id, Flight& flight, std::size_t upstream, Protocol protocol,
                                       Instant now) {
  deadlines_.erase({flight.deadline, id});
  ++flight.tried[upstream];
  flight.asked = upstream;
  flight.over = protocol;
  ++flight.attempt;
  flight.deadline = std::min(now + attempt_timeout_, flight.end);
  flight.sent.emplace_back(flight.upstreams[upstream], protocol);
  deadlines_.emplace(flight.deadline, id);
  ++counters_.attempts;
  if (flight.attempt > 1) ++counters_.retries;
  return Send{id, flight.attempt, flight.upstreams[upstream], protocol};
}

UpstreamPool::Order UpstreamPool::next(FlightId id, Flight& flight, Failure why, Instant now) {
  if (flight.fresh >= kMaxAttempts || now >= flight.end) return finish(id, why);
  ++flight.fresh;
  return send(id, flight, choose(flight, now), flight.protocol, now);
}

UpstreamPool::Finish UpstreamPool::finish(FlightId id, Failure why) {
  forget(id);
  return {id, why};
}

void UpstreamPool::forget(FlightId id) {
  const auto found = flights_.find(id);
  if (found == flights_.end()) return;
  deadlines_.erase({found->second.deadline, id});
  flights_.erase(found);
}

UpstreamPool::Verdict UpstreamPool::on_reply(FlightId id, std::uint32_t attempt, bool truncated, Instant now) {
  const auto found = flights_.find(id);
  if (found == flights_.end() || attempt == 0 || attempt > found->second.attempt) {
    ++counters_.late;
    return {};
  }
  Flight& flight = found->second;
  const auto [from, protocol] = flight.sent[attempt - 1];
  health_.erase(from);
  if (!truncated) {
    // Of an earlier attempt too: an answer that took long is still the answer.
    forget(id);
    return {.deliver = true, .order = std::nullopt};
  }
  if (protocol == Protocol::Tcp) return {.deliver = false, .order = finish(id, Failure::Truncated)};
  if (flight.over == Protocol::Tcp || now >= flight.end) return {};  // somebody is asked over TCP already
  ++counters_.tcp_fallbacks;
  flight.protocol = Protocol::Tcp;
  const auto upstream = std::ranges::find(flight.upstreams, from) - flight.upstreams.begin();
  return {.deliver = false, .order = send(id, flight, static_cast<std::size_t>(upstream), Protocol::Tcp, now)};
}

std::optional<UpstreamPool::Order> UpstreamPool::on_failure(FlightId id, std::uint32_t attempt, Failure why,
                                                            Instant now) {
  const auto found = flights_.find(id);
  if (found == flights_.end() || attempt != found->second.attempt) {
    ++counters_.late;
    return std::nullopt;
  }
  Flight& flight = found->second;
  failed(flight.upstreams[flight.asked], why, now);
  return next(id, flight, why, now);
}

void UpstreamPool::failed(const Endpoint& upstream, Failure why, Instant now) {
  ++(why == Failure::Timeout ? counters_.timeouts : counters_.network_errors);
  Health& health = health_[upstream];
  ++health.silences;
  // One lost datagram is no failure; a refusal is.
  if (why == Failure::Timeout && health.silences < 2 && !health.down) return;
  // Many questions may fail together: they are one failure, and the back-off grows once per probation.
  if (health.down && now < health.retry_at - attempt_timeout_) return;
  health.probation = health.down ? std::min(health.probation * 2, kLongestProbation) : kFirstProbation;
  health.down = true;
  health.retry_at = now + health.probation;
}

std::vector<UpstreamPool::Order> UpstreamPool::on_time(Instant now) {
  std::vector<Order> orders;
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const FlightId id = deadlines_.begin()->second;
    Flight& flight = flights_.at(id);
    failed(flight.upstreams[flight.asked], Failure::Timeout, now);
    orders.push_back(next(id, flight, Failure::Timeout, now));
  }
  return orders;
}

}  // namespace lastlight::dns
