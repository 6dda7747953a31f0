#include <algorithm>
#include <utility>

#include "dnscache/forwarder_state.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

namespace {

Ede ede_of(Failure why) {
  switch (why) {
    case Failure::NoUpstream:
    case Failure::Timeout:
      return Ede::NoReachableAuthority;
    case Failure::Network:
      return Ede::NetworkError;
    case Failure::Truncated:
    case Failure::Invalid:
      return Ede::InvalidData;
  }
  return Ede::Other;
}

bool is_positive(const Answer& answer) {
  return (load16(answer.message, 2) & kRcodeMask) == kNoError && load16(answer.message, 6) != 0;
}

}  // namespace

TtlLimits Forwarder::State::limits(std::uint32_t zone) const {
  const ZoneConfig& config = zone == kNoZone ? ZoneConfig{} : config_.zones[zone];
  return {.min_ttl = config.min_ttl, .max_ttl = config.max_ttl, .max_negative_ttl = config.max_negative_ttl};
}

// There are as many as the configurations of this process' life named; what does not fit is not told.
std::uint8_t Forwarder::State::source_of(const std::optional<Endpoint>& from) {
  if (!from) return 0;
  auto found = std::ranges::find(sources_, *from);
  if (found == sources_.end()) {
    if (sources_.size() == 255) return 0;
    found = sources_.insert(found, *from);
  }
  return static_cast<std::uint8_t>(found - sources_.begin() + 1);
}

std::span<const Delivery> Forwarder::State::on_reply(FlightId id, ByteView reply, Instant now,
                                                     const std::optional<Endpoint>& from) {
  ++counters_.replies;
  deliveries_.clear();
  if (const Flight* flight = flights_.close(id, now)) {
    end(*flight, reply, now, from);
  } else {
    ++counters_.late_replies;
  }
  return deliveries_.all();
}

void Forwarder::State::end(const Flight& flight, ByteView reply, Instant now, const std::optional<Endpoint>& from) {
  if (flight.zone != kNoZone) outages_[flight.zone].answered(now);
  if (flight.key.empty()) return relay_back(flight, reply, now);
  auto prepared = prepare_answer(reply, ByteView(flight.key).subspan(1), limits(flight.zone),
                                 key_has_dnssec_ok(flight.key), std::move(prepared_));
  if (prepared) {
    prepared_ = std::move(*prepared);
    return settle(flight, prepared_, source_of(from), now);
  }
  const bool truncated = prepared.error() == Defect::Truncated;
  ++(truncated ? counters_.truncated_replies : counters_.invalid_replies);
  fail(flight, kServFail, Ede::InvalidData, now);
}

void Forwarder::State::settle(const Flight& flight, const Prepared& prepared, std::uint8_t source, Instant now) {
  if (prepared.failure) {
    // The query that went upstream was ours: what is wrong with it is not the client's fault. REFUSED is a statement
    // about the name, and resolvers go on to their next server for it.
    return fail(flight, prepared.rcode == kRefused ? kRefused : kServFail, std::nullopt, now);
  }
  if (!is_positive(prepared.answer()) && flight.zone != kNoZone) {
    const Duration outlives = config_.zones[flight.zone].last_known_good;
    const auto kept = outlives > Duration{0} ? kept_for(flight, now) : std::nullopt;
    if (kept && is_positive(kept->answer) && -kept->left < outlives) {
      ++counters_.last_known_good;
      cache_.postpone(flight.key, config_.stale_recheck, now);
      return fan_out_kept(flight, flight.waiters, *kept);
    }
  }
  Answer kept = prepared.answer();
  kept.source = source;
  if (keeps(flight.zone)) cache_.put(flight.key, flight.hash, kept, prepared.ttl, now);
  learn(flight, prepared, now);
  count_waiters(flight, prepared.rcode);
  fan_out(flight, prepared.answer());
}

void Forwarder::State::count_waiters(const Flight& flight, std::uint16_t rcode) {
  if (flight.key.empty() || flight.waiters.empty()) return;
  count_name(flight.key, flight.hash, rcode, flight.waiters.size());
}

// What an answer says of the names around it (cut.h).
void Forwarder::State::learn(const Flight& flight, const Prepared& prepared, Instant now) {
  if (!keeps(flight.zone)) return;
  const Query query = query_of(flight.key);
  const ByteView name = query.name();
  auto& cut = cuts_[flight.zone];
  if (cut && prepared.rcode == kNoError) cut->exists(name, now);
  if (cut && prepared.rcode == kNxDomain && !query.edns && query.qclass == kClassIn) {
    cut->missing(name, query.type, prepared, now);
    want_points(*cut);
  }
  if (cut || !is_positive(prepared.answer())) return;
  for (auto& other : cuts_) {
    if (!other) continue;
    other->exists_elsewhere(name, now);
    want_points(*other);
  }
}

std::span<const Delivery> Forwarder::State::on_failure(FlightId id, Failure why, Instant now) {
  deliveries_.clear();
  if (const Flight* flight = flights_.close(id, now)) {
    const bool answered = why == Failure::Truncated || why == Failure::Invalid;
    if (!answered && flight->zone != kNoZone) outages_[flight->zone].unanswered(flight->opened, now);
    fail(*flight, kServFail, ede_of(why), now);
  }
  return deliveries_.all();
}

std::span<const Delivery> Forwarder::State::abandon_all(Instant now) {
  deliveries_.clear();
  for (const Flight& flight : flights_.close_all(now)) {
    counters_.abandoned += flight.waiters.size();
    fan_out_error(flight, Ede::NotReady);
  }
  return deliveries_.all();
}

// What is still good enough for those who wait, when there is nothing better: fresh, or in the stale window.
std::optional<Cache::Hit> Forwarder::State::kept_for(const Flight& flight, Instant now) const {
  if (flight.key.empty() || !keeps(flight.zone)) return std::nullopt;
  const auto kept = cache_.peek(flight.key, now);
  return kept && !kept->answer.failure ? kept : std::nullopt;
}

// A failure never takes the place of an answer: clients get that, and the name is left alone for a while (RFC 8767 s5).
// In an outage it is not, for the name is not to blame. Without `ede`, the failure is what the upstream itself said.
void Forwarder::State::fail(const Flight& flight, std::uint16_t rcode, std::optional<Ede> ede, Instant now) {
  ++counters_.failures;
  if (const auto kept = kept_for(flight, now)) {
    if (!outages_[flight.zone].excuses(flight.opened)) cache_.postpone(flight.key, config_.stale_recheck, now);
    return fan_out_kept(flight, flight.waiters, *kept);
  }
  keep_failure(flight, rcode, now);
  count_waiters(flight, rcode);
  if (ede) return fan_out_error(flight, *ede);
  fan_out(flight, make_failure(ByteView(flight.key).subspan(1), rcode).answer());
}

// RFC 9520 s3.2: a failure is remembered, so that a broken upstream is not asked again for every retry of every client.
void Forwarder::State::keep_failure(const Flight& flight, std::uint16_t rcode, Instant now) {
  if (flight.key.empty() || !keeps(flight.zone)) return;
  cache_.put(flight.key, flight.hash, make_failure(ByteView(flight.key).subspan(1), rcode).answer(),
             config_.failure_ttl, now);
}

// One delivery to each waiter; `write` is given its query and client, writes into scratch_ and returns the size.
template <typename Write>
void Forwarder::State::deliver(const Waiters& waiters, Write&& write) {
  for (std::size_t i = 0; i < waiters.size(); ++i) {
    const Client& to = waiters[i].to;
    const std::size_t size = write(waiters.query(i), to);
    deliveries_.add(to, ByteView(scratch_).first(size));
    count_rcode(scratch_);
  }
  counters_.deliveries += waiters.size();
}

void Forwarder::State::fan_out_error(const Flight& flight, Ede ede) {
  const ResponseForm how{.payload = config_.udp_payload, .ede = ede};
  deliver(flight.waiters,
          [&](const Query& query, const Client&) { return write_error(query, kServFail, how, scratch_); });
}

void Forwarder::State::fan_out(const Flight& flight, const Answer& answer) {
  deliver(flight.waiters, [&](const Query& query, const Client& client) {
    const Written written = write_answer(answer, query, form(query, client), scratch_);
    if (written.truncated) ++counters_.truncated;
    return written.size;
  });
}

void Forwarder::State::fan_out_kept(const Flight& flight, const Waiters& waiters, const Cache::Hit& hit) {
  if (!waiters.empty()) count_name(flight.key, hit.hash, load16(hit.answer.message, 2) & kRcodeMask, waiters.size());
  const std::uint32_t zone = flight.zone;
  deliver(waiters, [&](const Query& query, const Client& client) {
    const Outcome outcome = hit.fresh ? send(hit.answer, query, client, hit.age, scratch_)
                                      : send_stale(hit.answer, zone, query, client, scratch_);
    return outcome.size;
  });
}

void Forwarder::State::relay_back(const Flight& flight, ByteView reply, Instant now) {
  const Client& to = flight.waiters[0].to;
  const Query query = flight.waiters.query(0);
  const bool valid = reply.size() >= kHeaderSize && reply.size() <= 65535 && (load16(reply, 2) & kQr) != 0 &&
                     opcode_of(load16(reply, 2)) == query.opcode();
  if (!valid) {
    ++counters_.invalid_replies;
    return fail(flight, kServFail, Ede::InvalidData, now);
  }
  ByteBuffer message(reply.begin(), reply.end());
  store16(message, 0, query.id);
  if (message.size() > size_limit(query, is_udp(to), config_.udp_payload)) {
    message.resize(kHeaderSize);
    store16(message, 2, load16(message, 2) | kTc);
    std::fill(message.begin() + 4, message.end(), std::uint8_t{0});
    ++counters_.truncated;
  }
  ++counters_.deliveries;
  count_rcode(message);
  deliveries_.add(to, message);
}

}  // namespace lastlight::dns
