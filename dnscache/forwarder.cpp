#include "dnscache/forwarder.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "dnscache/answer.h"
#include "dnscache/cache.h"
#include "dnscache/flights.h"
#include "dnscache/local.h"
#include "dnscache/query.h"
#include "dnscache/response.h"
#include "dnscache/wire.h"
#include "dnscache/zones.h"

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

// RFC 7828 s3.1: in units of 100 ms.
std::uint16_t keepalive_of(Duration idle) {
  return static_cast<std::uint16_t>(std::clamp<std::int64_t>(idle / std::chrono::milliseconds(100), 0, 0xFFFF));
}

bool is_udp(const Client& client) {
  return client.transport == Transport::Udp;
}

}  // namespace

class Forwarder::State {
 public:
  State(const DnsConfig& config, std::uint64_t seed, const CookieSecret& cookie_secret)
      : config_(config),
        cookies_(cookie_secret),
        zones_(config.zones),
        cache_(config.cache_size, seed),
        flights_(config.max_flights, config.max_waiters, seed ^ 1) {}

  Outcome on_query(ByteView packet, const Client& client, Instant now, MutableByteView out);
  std::vector<Delivery> on_reply(FlightId id, ByteView reply, Instant now);
  std::vector<Delivery> on_failure(FlightId id, Failure why, Instant now);
  std::vector<Delivery> abandon_all();

  std::size_t flights() const { return flights_.size(); }
  const ForwarderCounters& counters() const { return counters_; }
  const CacheCounters& cache_counters() const { return cache_.counters(); }

 private:
  Outcome question(const Query& query, const Client& client, Instant now, MutableByteView out);
  Outcome relay(ByteView packet, const Query& query, const Client& client, MutableByteView out);
  Outcome miss(const Key& key, std::uint32_t zone, const Query& query, const Client& client, MutableByteView out);
  Outcome full(const Query& query, MutableByteView out);
  Outcome error(const Query& query, std::uint16_t rcode, std::optional<Ede> ede, std::uint64_t& counter,
                MutableByteView out);
  Outcome send(const Answer& answer, const Query& query, const Client& client, std::uint32_t age, MutableByteView out);
  std::vector<Delivery> fail(const Flight& flight, Ede ede, Instant now);
  template <typename Write>
  std::vector<Delivery> deliver(const Flight& flight, Write&& write);
  std::vector<Delivery> fan_out_error(const Flight& flight, Ede ede);
  std::vector<Delivery> fan_out(const Flight& flight, const Answer& answer);
  std::vector<Delivery> relay_back(const Flight& flight, ByteView reply, Instant now);
  void keep_failure(const Flight& flight, std::uint16_t rcode, Instant now);
  ResponseForm form(const Query& query, const Client& client) const;

  DnsConfig config_;
  Cookies cookies_;
  Zones zones_;
  Cache cache_;
  Flights flights_;
  ByteBuffer asking_;                                                     // what Ask::query points to
  std::vector<std::uint8_t> scratch_ = std::vector<std::uint8_t>(65535);  // one delivery is written here, then copied
  ForwarderCounters counters_;
};

ResponseForm Forwarder::State::form(const Query& query, const Client& client) const {
  ResponseForm out{.limit = size_limit(query, is_udp(client), config_.udp_payload), .payload = config_.udp_payload};
  if (!is_udp(client) && query.edns && query.edns->keepalive) out.keepalive = keepalive_of(config_.tcp_idle_timeout);
  return out;
}

Forwarder::Outcome Forwarder::State::on_query(ByteView packet, const Client& client, Instant now, MutableByteView out) {
  ++counters_.queries;
  Query query;
  switch (read_query(packet, query)) {
    case Reading::TooShort:
      ++counters_.dropped_short;
      return {.size = 0, .ask = std::nullopt, .dropped = true};
    case Reading::Response:
      ++counters_.dropped_response;
      return {.size = 0, .ask = std::nullopt, .dropped = true};
    case Reading::Malformed:
      return error(query, kFormErr, std::nullopt, counters_.format_errors, out);
    case Reading::Query:
      break;
  }
  if (query.edns && query.edns->version != 0) {
    return error(query, kBadVers, std::nullopt, counters_.bad_version, out);
  }
  const auto cookie = query.edns ? cookies_.renew(query.edns->cookie, client.peer.address, now) : Cookies::Seen::None;
  switch (query.opcode()) {
    case kOpQuery:
      if (query.question.empty()) {  // RFC 7873 s5.4: only a cookie was asked for
        return error(query, cookie == Cookies::Seen::Bad ? kBadCookie : kNoError, std::nullopt, counters_.local, out);
      }
      return question(query, client, now, out);
    case kOpNotify:
    case kOpUpdate:
      return relay(packet, query, client, out);
    default:
      return error(query, kNotImp, std::nullopt, counters_.not_implemented, out);
  }
}

Forwarder::Outcome Forwarder::State::question(const Query& query, const Client& client, Instant now,
                                              MutableByteView out) {
  if (query.type == kTypeAxfr || query.type == kTypeIxfr) {
    return error(query, kRefused, Ede::NotSupported, counters_.refused, out);
  }
  const Key key(query);
  const ByteView name = key.question().first(query.name().size());
  if (const auto local = local_answer(query, name)) {
    ++counters_.local;
    return send(local->answer(), query, client, 0, out);
  }
  const auto zone = zones_.find(name);
  if (!zone) return error(query, kRefused, Ede::NotAuthoritative, counters_.refused, out);
  if (const auto hit = config_.zones[*zone].cache ? cache_.find(key.view(), now) : std::nullopt) {
    ++counters_.answered_from_cache;
    return send(hit->answer, query, client, hit->age, out);
  }
  return miss(key, *zone, query, client, out);
}

Forwarder::Outcome Forwarder::State::miss(const Key& key, std::uint32_t zone, const Query& query, const Client& client,
                                          MutableByteView out) {
  switch (flights_.join(key.view(), query, client)) {
    case Flights::Joined::Yes:
      ++counters_.joined;
      return {};
    case Flights::Joined::Full:
      ++counters_.waiters_full;
      return full(query, out);
    case Flights::Joined::NoFlight:
      break;
  }
  const auto id = flights_.open(key.view(), zone, query, client);
  if (!id) {
    ++counters_.flights_full;
    return full(query, out);
  }
  ++counters_.asked;
  asking_ = upstream_query(query, config_.udp_payload);
  return {.size = 0, .ask = Ask{.flight = *id, .zone = zone, .query = asking_}};
}

// UPDATE and NOTIFY: the whole message goes as it came, for its signature (RFC 8945) covers it; only one client waits.
Forwarder::Outcome Forwarder::State::relay(ByteView packet, const Query& query, const Client& client,
                                           MutableByteView out) {
  const Key key(query);
  const auto zone = zones_.find(key.question().first(query.name().size()));
  if (!zone || !config_.zones[*zone].relay_updates) {
    return error(query, kRefused, Ede::NotSupported, counters_.refused, out);
  }
  const auto id = flights_.open({}, *zone, query, client);
  if (!id) {
    ++counters_.flights_full;
    return full(query, out);
  }
  ++counters_.relayed;
  asking_.assign(packet.begin(), packet.end());
  store16(asking_, 0, 0);
  return {.size = 0, .ask = Ask{.flight = *id, .zone = *zone, .query = asking_}};
}

Forwarder::Outcome Forwarder::State::full(const Query& query, MutableByteView out) {
  const ResponseForm form{.payload = config_.udp_payload, .ede = Ede::Other};
  return {.size = write_error(query, kServFail, form, out), .ask = std::nullopt};
}

Forwarder::Outcome Forwarder::State::error(const Query& query, std::uint16_t rcode, std::optional<Ede> ede,
                                           std::uint64_t& counter, MutableByteView out) {
  ++counter;
  const ResponseForm form{.payload = config_.udp_payload, .ede = ede};
  return {.size = write_error(query, rcode, form, out), .ask = std::nullopt};
}

Forwarder::Outcome Forwarder::State::send(const Answer& answer, const Query& query, const Client& client,
                                          std::uint32_t age, MutableByteView out) {
  ResponseForm how = form(query, client);
  how.age = age;
  if (answer.failure) how.ede = Ede::CachedError;
  const Written written = write_answer(answer, query, how, out);
  if (written.truncated) ++counters_.truncated;
  return {.size = written.size, .ask = std::nullopt};
}

std::vector<Delivery> Forwarder::State::on_reply(FlightId id, ByteView reply, Instant now) {
  ++counters_.replies;
  auto flight = flights_.close(id);
  if (!flight) {
    ++counters_.late_replies;
    return {};
  }
  if (flight->key.empty()) return relay_back(*flight, reply, now);
  const ZoneConfig& zone = config_.zones[flight->zone];
  const ByteView question = ByteView(flight->key).subspan(1);
  auto prepared = prepare_answer(
      reply, question, {.min_ttl = zone.min_ttl, .max_ttl = zone.max_ttl, .max_negative_ttl = zone.max_negative_ttl},
      key_has_dnssec_ok(flight->key));
  if (!prepared) {
    const bool truncated = prepared.error() == Defect::Truncated;
    ++(truncated ? counters_.truncated_replies : counters_.invalid_replies);
    return fail(*flight, Ede::InvalidData, now);
  }
  if (!prepared->failure) {
    if (zone.cache) cache_.put(flight->key, prepared->answer(), prepared->ttl, now);
    return fan_out(*flight, prepared->answer());
  }
  // The query that went upstream was ours: what is wrong with it is not the client's fault. REFUSED is a statement
  // about the name, and resolvers go on to their next server for it.
  ++counters_.failures;
  const std::uint16_t rcode = prepared->rcode == kRefused ? kRefused : kServFail;
  keep_failure(*flight, rcode, now);
  return fan_out(*flight, make_failure(question, rcode).answer());
}

std::vector<Delivery> Forwarder::State::on_failure(FlightId id, Failure why, Instant now) {
  auto flight = flights_.close(id);
  if (!flight) return {};
  return fail(*flight, ede_of(why), now);
}

std::vector<Delivery> Forwarder::State::abandon_all() {
  std::vector<Delivery> out;
  for (const Flight& flight : flights_.close_all()) {
    counters_.abandoned += flight.waiters.size();
    std::ranges::move(fan_out_error(flight, Ede::NotReady), std::back_inserter(out));
  }
  return out;
}

// RFC 9520 s3.2: a failure is remembered, so that a broken upstream is not asked again for every retry of every client.
void Forwarder::State::keep_failure(const Flight& flight, std::uint16_t rcode, Instant now) {
  if (flight.key.empty() || !config_.zones[flight.zone].cache) return;
  cache_.put(flight.key, make_failure(ByteView(flight.key).subspan(1), rcode).answer(), config_.failure_ttl, now);
}

std::vector<Delivery> Forwarder::State::fail(const Flight& flight, Ede ede, Instant now) {
  ++counters_.failures;
  keep_failure(flight, kServFail, now);
  return fan_out_error(flight, ede);
}

// One delivery to each waiter; `write` is given its query and client, writes into scratch_ and returns the size.
template <typename Write>
std::vector<Delivery> Forwarder::State::deliver(const Flight& flight, Write&& write) {
  std::vector<Delivery> out;
  out.reserve(flight.waiters.size());
  for (const Waiter& waiter : flight.waiters) {
    const auto size = static_cast<std::ptrdiff_t>(write(waiter.query(), waiter.to));
    out.push_back({waiter.to, ByteBuffer(scratch_.begin(), scratch_.begin() + size)});
  }
  counters_.deliveries += out.size();
  return out;
}

std::vector<Delivery> Forwarder::State::fan_out_error(const Flight& flight, Ede ede) {
  const ResponseForm how{.payload = config_.udp_payload, .ede = ede};
  return deliver(flight,
                 [&](const Query& query, const Client&) { return write_error(query, kServFail, how, scratch_); });
}

std::vector<Delivery> Forwarder::State::fan_out(const Flight& flight, const Answer& answer) {
  return deliver(flight, [&](const Query& query, const Client& client) {
    const Written written = write_answer(answer, query, form(query, client), scratch_);
    if (written.truncated) ++counters_.truncated;
    return written.size;
  });
}

std::vector<Delivery> Forwarder::State::relay_back(const Flight& flight, ByteView reply, Instant now) {
  const Waiter& waiter = flight.waiters.front();
  const Query query = waiter.query();
  const bool valid = reply.size() >= kHeaderSize && reply.size() <= 65535 && (load16(reply, 2) & kQr) != 0 &&
                     opcode_of(load16(reply, 2)) == query.opcode();
  if (!valid) {
    ++counters_.invalid_replies;
    return fail(flight, Ede::InvalidData, now);
  }
  ByteBuffer message(reply.begin(), reply.end());
  store16(message, 0, query.id);
  if (message.size() > size_limit(query, is_udp(waiter.to), config_.udp_payload)) {
    message.resize(kHeaderSize);
    store16(message, 2, load16(message, 2) | kTc);
    std::fill(message.begin() + 4, message.end(), std::uint8_t{0});
    ++counters_.truncated;
  }
  ++counters_.deliveries;
  return {{waiter.to, std::move(message)}};
}

Forwarder::Forwarder(const DnsConfig& config, std::uint64_t hash_seed, const CookieSecret& cookie_secret)
    : state_(std::make_unique<State>(config, hash_seed, cookie_secret)) {}
Forwarder::~Forwarder() = default;
Forwarder::Forwarder(Forwarder&&) noexcept = default;
Forwarder& Forwarder::operator=(Forwarder&&) noexcept = default;

Forwarder::Outcome Forwarder::on_query(ByteView query, const Client& client, Instant now, MutableByteView out) {
  return state_->on_query(query, client, now, out);
}
std::vector<Delivery> Forwarder::on_reply(FlightId flight, ByteView reply, Instant now) {
  return state_->on_reply(flight, reply, now);
}
std::vector<Delivery> Forwarder::on_failure(FlightId flight, Failure why, Instant now) {
  return state_->on_failure(flight, why, now);
}
std::vector<Delivery> Forwarder::abandon_all(Instant) {
  return state_->abandon_all();
}
std::size_t Forwarder::flights() const {
  return state_->flights();
}
const ForwarderCounters& Forwarder::counters() const {
  return state_->counters();
}
const CacheCounters& Forwarder::cache_counters() const {
  return state_->cache_counters();
}

}  // namespace lastlight::dns
