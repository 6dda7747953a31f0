#include <algorithm>
#include <array>

#include "dnscache/forwarder_state.h"
#include "dnscache/presentation.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

namespace {

constexpr std::size_t kHotNames = 1024;
constexpr Duration kUntilTheEnd = std::chrono::hours(24 * 7);

// Whether the same upstreams are asked in the same way, so that what they said may stay.
bool asks_alike(const ZoneConfig& a, const ZoneConfig& b) {
  return a.name == b.name && a.upstreams == b.upstreams && a.from_resolv_conf == b.from_resolv_conf &&
         a.protocol == b.protocol && a.cache && b.cache;
}

bool has_cut(const DnsConfig& config, const ZoneConfig& zone) {
  if (zone.nxdomain_cut == NxdomainCut::Auto) return zone.name == config.cluster_domain;
  return zone.nxdomain_cut == NxdomainCut::On;
}

}  // namespace

void Forwarder::State::build_cuts() {
  std::vector<Name> names;
  for (const ZoneConfig& zone : config_.zones) {
    if (const auto name = Name::parse(zone.name)) names.push_back(*name);
  }
  cuts_.clear();
  for (const ZoneConfig& zone : config_.zones) {
    const auto name = Name::parse(zone.name);
    cuts_.emplace_back();
    if (name && zone.cache && has_cut(config_, zone)) cuts_.back().emplace(*name, names, seed_ ^ 3);
  }
}

void Forwarder::State::prepare_to_leave(Instant now) {
  if (config_.max_stale > Duration{0}) cache_.set_stale_window(std::max(config_.max_stale, kUntilTheEnd));
  for (ByteBuffer& key : cache_.hot_keys(kHotNames, now))
    want(std::move(key));
}

void Forwarder::State::reconfigure(const DnsConfig& config, Instant now) {
  const Zones zones(config.zones);
  cache_.erase_if([&](ByteView key) {
    const auto before = zones_.find(name_of_key(key));
    const auto after = zones.find(name_of_key(key));
    return !before || !after || !asks_alike(config_.zones[*before], config.zones[*after]);
  });
  flights_.rezone([&](const Flight& flight) -> std::uint32_t {
    if (flight.zone == kNoZone || flight.key.empty()) return kNoZone;
    const auto after = zones.find(name_of_key(flight.key));
    // An answer of an upstream that is asked no more is for its waiters alone.
    return after && asks_alike(config_.zones[flight.zone], config.zones[*after]) ? *after : kNoZone;
  });
  config_ = config;
  zones_ = zones;
  flights_.set_limits({config.max_flights, config.max_waiters, config.max_per_client});
  cache_.set_stale_window(config.max_stale);
  cache_.set_budget(config.cache_size, now);
  outages_.assign(config.zones.size(), Outage{});
  build_cuts();
}

Forwarder::Kept Forwarder::State::describe(ByteView key, const Cache::Hit& hit) const {
  const auto zone = zones_.find(name_of_key(key));
  return {.zone = zone ? config_.zones[*zone].name : std::string(),
          .name = name_text(name_of_key(key)),
          .type = load16(key, key.size() - 4),
          .rcode = static_cast<std::uint16_t>(load16(hit.answer.message, 2) & kRcodeMask),
          .answers = load16(hit.answer.message, 6),
          .age = hit.age,
          .left = hit.left,
          .hits = hit.hits,
          .from = hit.answer.source > 0 ? sources_[hit.answer.source - 1] : std::optional<Endpoint>(),
          .failure = hit.answer.failure,
          .dnssec_ok = (key[0] & 1) != 0,
          .checking_disabled = (key[0] & 2) != 0,
          .recursion_desired = (key[0] & 4) != 0};
}

std::vector<Forwarder::Kept> Forwarder::State::look_up(const std::string& name, std::uint16_t type, Instant now) const {
  std::vector<Kept> out;
  const auto wire = Name::parse(name);
  if (!wire) return out;
  ByteBuffer key{0};
  key.insert(key.end(), wire->view().begin(), wire->view().end());
  key.resize(key.size() + 4);
  store16(key, key.size() - 4, type);
  store16(key, key.size() - 2, kClassIn);
  for (std::uint8_t bits = 0; bits < 8; ++bits) {
    key[0] = bits;
    const auto hit = cache_.peek(key, now);
    if (!hit) continue;
    out.push_back(describe(key, *hit));
    out.back().message.assign(hit->answer.message.begin(), hit->answer.message.end());
  }
  return out;
}

std::vector<Forwarder::NameCount> Forwarder::State::top(Top what, std::size_t most) const {
  std::vector<NameCount> out;
  for (const auto& [key, count] : (what == Top::Missing ? missing_ : names_).top(most)) {
    const auto zone = zones_.find(name_of_key(key));
    out.push_back({.zone = zone ? config_.zones[*zone].name : std::string(),
                   .name = name_text(name_of_key(key)),
                   .type = load16(key, key.size() - 4),
                   .queries = count});
  }
  return out;
}

std::vector<ClientCount> Forwarder::State::top_clients(std::size_t most) {
  note_run();
  std::vector<ClientCount> out;
  for (const auto& [octets, count] : clients_.top(most)) {
    std::array<std::uint8_t, kLongestAddress> address{};
    std::ranges::copy(octets, address.begin());
    const bool v6 = octets.size() == kLongestAddress;
    out.push_back({v6 ? IpAddress::v6(address) : IpAddress::v4(load32(octets, 0)), count});
  }
  return out;
}

// What was concluded from an answer goes with it: the cuts of every zone that the name, or the domain, touches.
std::size_t Forwarder::State::flush(const std::string& name, Flush what) {
  const auto wire = Name::parse(name);
  if (!wire) return 0;
  ZoneConfig only;
  only.name = name;
  const Zones below({only});
  for (std::size_t zone = 0; zone < cuts_.size(); ++zone) {
    const auto apex = Name::parse(config_.zones[zone].name);
    const bool touched = apex && (below.find(apex->view()) || zones_.find(wire->view()) == zone);
    if (cuts_[zone] && touched) cuts_[zone]->clear();
  }
  return cache_.erase_if([&](ByteView key) {
    return what == Flush::Zone ? below.find(name_of_key(key)).has_value() : same_name(name_of_key(key), wire->view());
  });
}

CutCounters Forwarder::State::cut_counters() const {
  CutCounters sum;
  for (const auto& cut : cuts_) {
    if (!cut) continue;
    sum.served += cut->counters().served;
    sum.asked += cut->counters().asked;
    sum.armed += cut->counters().armed;
    sum.dropped += cut->counters().dropped;
    sum.forgotten += cut->counters().forgotten;
  }
  return sum;
}

}  // namespace lastlight::dns
