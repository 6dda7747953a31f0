#include "dnscache/forwarder.h"

#include <algorithm>
#include <array>

#include "dnscache/forwarder_state.h"
#include "dnscache/local.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

namespace {

// Of the flights, how many may be questions nobody waits for.
constexpr std::uint32_t kAheadShare = 2;

// RFC 7828 s3.1: in units of 100 ms.
std::uint16_t keepalive_of(Duration idle) {
  return static_cast<std::uint16_t>(std::clamp<std::int64_t>(idle / std::chrono::milliseconds(100), 0, 0xFFFF));
}

constexpr std::uint8_t kKeyRd = 4;  // a key without DO and CD

bool is_negative(const Answer& answer) {
  return (load16(answer.message, 2) & kRcodeMask) == kNxDomain || load16(answer.message, 6) == 0;
}

}  // namespace

Forwarder::State::State(const DnsConfig& config, std::uint64_t seed, const CookieSecret& cookie_secret)
    : config_(config),
      cookies_(cookie_secret),
      zones_(config.zones),
      cache_(config.cache_size, seed, config.max_stale),
      flights_({config.max_flights, config.max_waiters, config.max_per_client}, seed ^ 1),
      seed_(seed),
      outages_(config.zones.size()) {
  build_cuts();
}

ResponseForm Forwarder::State::form(const Query& query, const Client& client) const {
  ResponseForm out{.limit = size_limit(query, is_udp(client), config_.udp_payload), .payload = config_.udp_payload};
  if (!is_udp(client) && query.edns && query.edns->keepalive) out.keepalive = keepalive_of(config_.tcp_idle_timeout);
  return out;
}

// RFC 8767 s4, s5: the TTL of a stale answer is short; one that says "not there" is believed no longer than ever.
ResponseForm Forwarder::State::stale_form(const Answer& answer, std::uint32_t zone, const Query& query,
                                          const Client& client) const {
  Duration ttl = config_.stale_ttl;
  if (zone != kNoZone && is_negative(answer)) ttl = std::min(ttl, config_.zones[zone].max_negative_ttl);
  ResponseForm how = form(query, client);
  how.ttl = static_cast<std::uint32_t>(std::chrono::ceil<std::chrono::seconds>(ttl).count());
  how.ede = (load16(answer.message, 2) & kRcodeMask) == kNxDomain ? Ede::StaleNxDomain : Ede::StaleAnswer;
  return how;
}

Forwarder::Outcome Forwarder::State::on_query(ByteView packet, const Client& client, Instant now, MutableByteView out) {
  ++counters_.queries;
  Outcome outcome = handle(packet, client, now, out);
  if (outcome.size > 0) count_rcode(out);
  return outcome;
}

// Queries come in runs: two types, and the names of a search path.
void Forwarder::State::count_client(const IpAddress& client) {
  if (run_ > 0 && client != run_of_) note_run();
  run_of_ = client;
  ++run_;
}

void Forwarder::State::note_run() {
  if (run_ == 0) return;
  const ByteView octets = ByteView(run_of_.octets()).first(run_of_.is_v6() ? 16 : 4);
  clients_.note(octets, hash_octets(octets, seed_), std::exchange(run_, 0));
}

void Forwarder::State::count_name(ByteView key, std::uint64_t hash, std::uint16_t rcode, std::uint64_t times) {
  (rcode == kNxDomain ? missing_ : names_).note(key, hash, times);
}

void Forwarder::State::count_rcode(ByteView message) {
  ++counters_.rcodes.at(load16(message, 2) & kRcodeMask);
}

void Forwarder::State::read(ByteView packet, Read& into) const {
  into.packet = packet;
  into.reading = read_query(packet, into.query);
  if (into.reading != Reading::Query || into.query.opcode() != kOpQuery || into.query.question.empty()) return;
  into.key.assign(into.query);
  into.hash = cache_.hash_of(into.key.view());
}

void Forwarder::State::expect(std::span<const ByteView> queries) {
  expecting_ = next_ = 0;
  std::array<std::uint64_t, kExpected> hashes;
  std::size_t count = 0;
  for (const ByteView packet : queries.first(std::min(queries.size(), kExpected))) {
    Read& each = expected_[expecting_++];
    read(packet, each);
    if (each.reading == Reading::Query) hashes[count++] = each.hash;
  }
  cache_.approach(std::span(hashes).first(count));
}

Forwarder::State::Read& Forwarder::State::reading_of(ByteView packet) {
  if (next_ < expecting_ && expected_[next_].packet.data() == packet.data() &&
      expected_[next_].packet.size() == packet.size()) {
    return expected_[next_++];
  }
  expecting_ = 0;
  read(packet, alone_);
  return alone_;
}

Forwarder::Outcome Forwarder::State::handle(ByteView packet, const Client& client, Instant now, MutableByteView out) {
  Read& read = reading_of(packet);
  Query& query = read.query;
  switch (read.reading) {
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
      return question(read, client, now, out);
    case kOpNotify:
    case kOpUpdate:
      return relay(packet, query, client, now, out);
    default:
      return error(query, kNotImp, std::nullopt, counters_.not_implemented, out);
  }
}

Forwarder::Outcome Forwarder::State::question(const Read& read, const Client& client, Instant now,
                                              MutableByteView out) {
  const Query& query = read.query;
  const Key& key = read.key;
  if (query.type == kTypeAxfr || query.type == kTypeIxfr) {
    return error(query, kRefused, Ede::NotSupported, counters_.refused, out);
  }
  count_client(client.peer.address);
  const ByteView name = key.question().first(query.name().size());
  if (const auto local = local_answer(query, name)) {
    ++counters_.local;
    return send(local->answer(), query, client, 0, out);
  }
  const auto zone = zones_.find(name);
  if (!zone) return error(query, kRefused, Ede::NotAuthoritative, counters_.refused, out);
  if (config_.zones[*zone].cache) {
    const auto hit = cache_.find(key.view(), read.hash, now);
    if (!hit || !hit->fresh) {
      if (auto outcome = cut_off(read, *zone, client, now, out)) return *outcome;
    }
    if (hit && !hit->fresh) return expired(*hit, key, *zone, query, client, now, out);
    if (hit) {
      ++counters_.answered_from_cache;
      count_name(key.view(), hit->hash, load16(hit->answer.message, 2) & kRcodeMask, 1);
      Outcome outcome = send(hit->answer, query, client, hit->age, out);
      if (hit->due && config_.prefetch) {
        outcome.ask = ahead(key.view(), hit->hash, *zone, query, now);
        if (outcome.ask) ++counters_.prefetched;
      }
      return outcome;
    }
  }
  return miss(read, *zone, client, now, out);
}

// RFC 8767 s5: an answer whose TTL has run out is asked for again, and the client waits for the outcome as long as its
// patience lasts; but not when it is known that nobody answers, that this name was just asked for in vain, or that
// there is no room to wait.
Forwarder::Outcome Forwarder::State::expired(const Cache::Hit& hit, const Key& key, std::uint32_t zone,
                                             const Query& query, const Client& client, Instant now,
                                             MutableByteView out) {
  const bool silent = outages_[zone].silent();
  const auto flight = flights_.find(key.view(), hit.hash);
  if (!silent && flight && !flights_.at(*flight).overdue) {
    const auto joined = flights_.join(*flight, query, client, now);
    if (joined) {
      ++counters_.joined;
      return {};
    }
    ++count(joined.error());
  } else if (!silent && !flight && hit.due) {
    const Duration patience = std::min(hit.hot ? config_.stale_after_hot : config_.stale_after, config_.stale_after);
    const auto id = flights_.open(key.view(), hit.hash, zone, query, client, now, patience);
    if (id) return {.size = 0, .ask = ask(*id, zone, query)};
    ++count(id.error());
  }
  count_name(key.view(), hit.hash, load16(hit.answer.message, 2) & kRcodeMask, 1);
  Outcome outcome = send_stale(hit.answer, zone, query, client, out);
  if (silent && hit.due) outcome.ask = ahead(key.view(), hit.hash, zone, query, now);
  return outcome;
}

// A name below one that is known to be missing (cut.h). For those who check signatures the upstream speaks itself.
std::optional<Forwarder::Outcome> Forwarder::State::cut_off(const Read& read, std::uint32_t zone, const Client& client,
                                                            Instant now, MutableByteView out) {
  const auto& [packet, reading, query, key, hash] = read;
  if (!cuts_[zone] || query.qclass != kClassIn || key.view()[0] != kKeyRd) return std::nullopt;
  const ByteView question = key.question();
  const auto denial = cuts_[zone]->denies(question.first(question.size() - 4), query.type, now);
  if (!denial) return std::nullopt;
  want_points(*cuts_[zone]);
  count_name(key.view(), hash, kNxDomain, 1);
  const std::size_t size = denial->write(question, scratch_);
  const std::array<std::uint16_t, 1> ttl_at{static_cast<std::uint16_t>(kHeaderSize + question.size() + denial->ttl_at)};
  const Answer answer{ByteView(scratch_).first(size), ttl_at};
  return send(answer, query, client, denial->age, out);
}

Forwarder::Outcome Forwarder::State::miss(const Read& read, std::uint32_t zone, const Client& client, Instant now,
                                          MutableByteView out) {
  const Query& query = read.query;
  if (const auto flight = flights_.find(read.key.view(), read.hash)) {
    const auto joined = flights_.join(*flight, query, client, now);
    if (!joined) return full(joined.error(), query, out);
    ++counters_.joined;
    return {};
  }
  const auto id = flights_.open(read.key.view(), read.hash, zone, query, client, now, config_.stale_after);
  if (!id) return full(id.error(), query, out);
  return {.size = 0, .ask = ask(*id, zone, query)};
}

// A question that nobody waits for, if there is room and anybody who might answer.
std::optional<Ask> Forwarder::State::ahead(ByteView key, std::uint64_t hash, std::uint32_t zone, const Query& query,
                                           Instant now) {
  if (flights_.find(key, hash)) return std::nullopt;
  if (flights_.size() >= config_.max_flights / kAheadShare) {
    ++counters_.ahead_full;
    return std::nullopt;
  }
  if (!outages_[zone].may_try(now)) return std::nullopt;
  const auto id = flights_.open_alone(key, hash, zone, now, config_.stale_after_hot);
  if (!id) return std::nullopt;
  return ask(*id, zone, query);
}

Ask Forwarder::State::ask(FlightId id, std::uint32_t zone, const Query& query) {
  ++counters_.asked;
  upstream_query(query, config_.udp_payload, asking_);
  return {.flight = id, .zone = zone, .query = asking_};
}

// UPDATE and NOTIFY: the whole message goes as it came, for its signature (RFC 8945) covers it; only one client waits.
Forwarder::Outcome Forwarder::State::relay(ByteView packet, const Query& query, const Client& client, Instant now,
                                           MutableByteView out) {
  const Key key(query);
  const auto zone = zones_.find(key.question().first(query.name().size()));
  if (!zone || !config_.zones[*zone].relay_updates) {
    return error(query, kRefused, Ede::NotSupported, counters_.refused, out);
  }
  const auto id = flights_.open({}, 0, *zone, query, client, now, Duration{0});
  if (!id) return full(id.error(), query, out);
  ++counters_.relayed;
  asking_.assign(packet.begin(), packet.end());
  store16(asking_, 0, 0);
  return {.size = 0, .ask = Ask{.flight = *id, .zone = *zone, .query = asking_}};
}

std::uint64_t& Forwarder::State::count(Flights::Full bound) {
  switch (bound) {
    case Flights::Full::Client:
      return counters_.client_full;
    case Flights::Full::Waiters:
      return counters_.waiters_full;
    case Flights::Full::Flights:
      break;
  }
  return counters_.flights_full;
}

// A client over its share is refused; one that came when all the room was taken is told to try again.
Forwarder::Outcome Forwarder::State::full(Flights::Full bound, const Query& query, MutableByteView out) {
  const std::uint16_t rcode = bound == Flights::Full::Client ? kRefused : kServFail;
  return error(query, rcode, Ede::Other, count(bound), out);
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

Forwarder::Outcome Forwarder::State::send_stale(const Answer& answer, std::uint32_t zone, const Query& query,
                                                const Client& client, MutableByteView out) {
  ++counters_.stale;
  const Written written = write_answer(answer, query, stale_form(answer, zone, query, client), out);
  if (written.truncated) ++counters_.truncated;
  return {.size = written.size, .ask = std::nullopt};
}

Forwarder::Forwarder(const DnsConfig& config, std::uint64_t hash_seed, const CookieSecret& cookie_secret)
    : state_(std::make_unique<State>(config, hash_seed, cookie_secret)) {}
Forwarder::~Forwarder() = default;
Forwarder::Forwarder(Forwarder&&) noexcept = default;
Forwarder& Forwarder::operator=(Forwarder&&) noexcept = default;

Forwarder::Outcome Forwarder::on_query(ByteView query, const Client& client, Instant now, MutableByteView out) {
  return state_->on_query(query, client, now, out);
}
void Forwarder::expect(std::span<const ByteView> queries) {
  state_->expect(queries);
}
std::span<const Delivery> Forwarder::on_reply(FlightId flight, ByteView reply, Instant now,
                                              const std::optional<Endpoint>& from) {
  return state_->on_reply(flight, reply, now, from);
}
std::span<const Delivery> Forwarder::on_failure(FlightId flight, Failure why, Instant now) {
  return state_->on_failure(flight, why, now);
}
std::span<const Delivery> Forwarder::on_time(Instant now) {
  return state_->on_time(now);
}
std::optional<Ask> Forwarder::next_ask(Instant now) {
  return state_->next_ask(now);
}
void Forwarder::prepare_to_leave(Instant now) {
  state_->prepare_to_leave(now);
}
void Forwarder::reconfigure(const DnsConfig& config, Instant now) {
  state_->reconfigure(config, now);
}
std::vector<Forwarder::Kept> Forwarder::look_up(const std::string& name, std::uint16_t type, Instant now) const {
  return state_->look_up(name, type, now);
}
std::vector<Forwarder::NameCount> Forwarder::top(Top what, std::size_t most) const {
  return state_->top(what, most);
}
std::size_t Forwarder::flush(const std::string& name, Flush what) {
  return state_->flush(name, what);
}
std::vector<ClientCount> Forwarder::top_clients(std::size_t most) const {
  return state_->top_clients(most);
}
const Histogram& Forwarder::waits() const {
  return state_->waits();
}
CutCounters Forwarder::cut_counters() const {
  return state_->cut_counters();
}
Instant Forwarder::next_deadline() const {
  return state_->next_deadline();
}
std::span<const Delivery> Forwarder::abandon_all(Instant now) {
  return state_->abandon_all(now);
}
std::uint64_t Forwarder::waiting() const {
  return state_->waiting();
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
