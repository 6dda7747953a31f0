#include "agent/addresses.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "agent/base/log.h"
#include "agent/config/rules.h"
#include "agent/config/service_address.h"
#include "agent/io/jitter.h"
#include "agent/io/small_file.h"
#include "dnscache/resolv_conf.h"

namespace lastlight {

namespace {

std::expected<Endpoint, std::string> known(const AddressSpec& spec, const Config& config) {
  return resolve_address(spec, config.node_ip, [](const char* name) { return std::getenv(name); });
}

std::vector<AddressSpec> listen_specs(const Config& config) {
  using Mode = TakeoverConfig::Mode;
  const auto& link_local = config.takeover.link_local;
  std::vector<AddressSpec> specs;
  if (config.takeover.mode != Mode::LinkLocal) specs = config.dns.listen;
  if (config.takeover.mode != Mode::None) specs.insert(specs.end(), link_local.begin(), link_local.end());
  return specs;
}

template <class Addresses>
std::string listed(const Addresses& addresses) {
  std::string out;
  for (const auto& address : addresses)
    out += (out.empty() ? "" : " ") + address.to_string();
  return out;
}

}  // namespace

Addresses::Addresses(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& api,
                     dns::Server& server, dns::Upstream& upstream, Listening listening, Changed changed)
    : loop_(loop),
      config_(config),
      api_server_(std::move(api_server)),
      api_(api),
      server_(server),
      upstream_(upstream),
      told_(std::move(listening)),
      changed_(std::move(changed)),
      listen_(listen_specs(config)),
      uniform_(io::jitter()),
      again_(loop, [this] { listen_again(); }),
      loops_(loop, [this] { apply_upstreams(); }),
      zones_(config.dns.zones.size()) {}

void Addresses::start() {
  for (const AddressSpec& spec : listen_)
    start_service(spec);
  if (config_.takeover.mode != TakeoverConfig::Mode::None && !config_.takeover.link_local.empty()) {
    for (const AddressSpec& spec : config_.takeover.fallback)
      start_service(spec);
  }
  for (const ZoneConfig& zone : config_.dns.zones) {
    for (const AddressSpec& spec : zone.upstreams)
      start_service(spec);
  }
  for (const AddressSpec& spec : listen_) {
    for (const Endpoint& where : not_yet_listened(spec)) {
      if (const auto bound = listen(where); !bound) throw std::runtime_error(bound.error());
    }
  }
  follow_resolv_conf();
  apply_upstreams();
  changed_();
}

void Addresses::follow_resolv_conf() {
  const bool follow = std::ranges::any_of(config_.dns.zones, &ZoneConfig::from_resolv_conf);
  if (!follow || resolv_conf_watch_) return;
  read_resolv_conf();
  resolv_conf_watch_ = std::make_unique<io::FileWatch>(loop_, config_.dns.resolv_conf, [this] { read_resolv_conf(); });
}

std::optional<std::string> Addresses::problem(const Config& next) const {
  for (const ZoneConfig& zone : next.dns.zones) {
    for (const AddressSpec& spec : zone.upstreams) {
      const auto where = known(spec, next);
      const bool later = spec.kind == AddressSpec::Kind::Service && !api_server_.empty();
      if (!where && !later) return spec.to_string() + ": " + where.error();
    }
  }
  return std::nullopt;
}

void Addresses::reconfigure() {
  for (auto zone = static_cast<std::uint32_t>(config_.dns.zones.size()); zone < zones_.size(); ++zone)
    upstream_.set_upstreams(zone, {}, Protocol::Udp);
  zones_.assign(config_.dns.zones.size(), {});
  for (const ZoneConfig& zone : config_.dns.zones) {
    for (const AddressSpec& spec : zone.upstreams)
      start_service(spec);
  }
  follow_resolv_conf();
  apply_upstreams();
}

// Services
// ------------------------------------------------------------------------------------------------------------------------

void Addresses::start_service(const AddressSpec& spec) {
  const auto where = known(spec, config_);
  if (spec.kind != AddressSpec::Kind::Service) {
    if (!where) throw std::runtime_error(spec.to_string() + ": " + where.error());
    return;
  }
  if (services_.contains(spec.service)) return;
  services_[spec.service] = where ? std::vector{where->address} : std::vector<IpAddress>{};
  if (api_server_.empty()) {
    if (!where)
      throw std::runtime_error(spec.to_string() + ": " + where.error() +
                               ", and no API server is known (KUBERNETES_SERVICE_HOST, --api-server)");
    return;
  }
  lookups_[spec.service] = std::make_unique<ServiceLookup>(
      loop_, api_, api_server_, config_.kubernetes, spec.service,
      [this, name = spec.service](std::vector<IpAddress> found) { on_service(name, std::move(found)); },
      [this, name = spec.service](const std::string& why) {
        log::warn("service.unresolved", {{"service", name}, {"error", why}, {"using", listed(services_[name])}});
      });
}

void Addresses::on_service(const std::string& name, std::vector<IpAddress> addresses) {
  log::info("service.resolved", {{"service", name}, {"addresses", listed(addresses)}});
  services_[name] = std::move(addresses);
  for (const AddressSpec& spec : listen_) {
    for (const Endpoint& where : not_yet_listened(spec))
      missing_.emplace(where, std::string());
  }
  apply_upstreams();  // all: what is missing may turn out to be somebody's upstream
  listen_again();
}

std::vector<Endpoint> Addresses::meaning(const AddressSpec& spec) const {
  if (spec.kind != AddressSpec::Kind::Service) {
    const auto where = known(spec, config_);
    return where ? std::vector{*where} : std::vector<Endpoint>{};
  }
  std::vector<Endpoint> out;
  if (const auto found = services_.find(spec.service); found != services_.end()) {
    for (const IpAddress& address : found->second)
      out.push_back({address, spec.port});
  }
  return out;
}

// Listeners
// -----------------------------------------------------------------------------------------------------------------------

std::vector<Endpoint> Addresses::not_yet_listened(const AddressSpec& spec) const {
  std::vector<Endpoint> out = meaning(spec);
  std::erase_if(out, [this](const Endpoint& where) {
    return std::ranges::find(listening_, where) != listening_.end() || missing_.contains(where);
  });
  return out;
}

std::expected<void, std::string> Addresses::listen(const Endpoint& where) {
  const auto bound = server_.listen(where);
  if (!bound) return std::unexpected(bound.error());
  listening_.push_back(*bound);
  log::info("dns.listening",
            {{"address", bound->to_string()}, {"receive_buffer_bytes", server_.receive_buffer().count}});
  told_(*bound);
  return {};
}

void Addresses::listen_again() {
  for (auto next = missing_.begin(); next != missing_.end();) {
    const auto bound = listen(next->first);
    if (!bound && bound.error() != next->second) {
      log::error("dns.listen_failed", {{"address", next->first.to_string()}, {"error", bound.error()}});
      next->second = bound.error();
    }
    next = bound ? missing_.erase(next) : std::next(next);
  }
  changed_();
  failures_ = missing_.empty() ? 0 : failures_ + 1;
  if (failures_ > 0) again_.start_in(backoff(kFirstRetry, kLongestRetry, failures_, uniform_()));
}

bool Addresses::bound() const {
  return std::ranges::all_of(listen_, [this](const AddressSpec& spec) {
    return std::ranges::any_of(meaning(spec), [this](const Endpoint& where) {
      return std::ranges::find(listening_, where) != listening_.end();
    });
  });
}

// Upstreams
// -----------------------------------------------------------------------------------------------------------------------

void Addresses::apply_upstreams() {
  for (std::uint32_t zone = 0; zone < config_.dns.zones.size(); ++zone)
    apply_upstreams(zone);
}

void Addresses::apply_upstreams(std::uint32_t zone) {
  const ZoneConfig& config = config_.dns.zones[zone];
  std::vector<Endpoint> upstreams;
  for (const AddressSpec& spec : config.upstreams)
    std::ranges::copy(meaning(spec), std::back_inserter(upstreams));
  if (config.from_resolv_conf) {
    for (const IpAddress& server : resolv_conf_servers_)
      upstreams.push_back({server, 53});
  }
  Zone& state = zones_[zone];
  const std::set<Endpoint> refused_before = std::exchange(state.refused, {});
  std::erase_if(upstreams, [&](const Endpoint& upstream) {
    const auto listener = listener_reached_by(upstream);
    if (!listener) return false;
    state.refused.insert(upstream);
    if (refused_before.contains(upstream)) return true;
    log::error("dns.upstream_is_ourselves",
               {{"zone", config.name}, {"upstream", upstream.to_string()}, {"listener", listener->to_string()}});
    return true;
  });
  loops_.set_upstreams(zone, config.name, upstreams);
  std::erase_if(upstreams, [&](const Endpoint& upstream) {
    const bool barred = loops_.barred(zone, upstream);
    if (barred) state.refused.insert(upstream);
    return barred;
  });
  if (state.upstreams == upstreams) return;  // connections and what is known of each upstream stay
  state.upstreams = upstreams;
  upstream_.set_upstreams(zone, std::move(upstreams), config.protocol, config.guard);
}

std::optional<Endpoint> Addresses::listener_reached_by(const Endpoint& upstream) const {
  const auto reached = [&](const Endpoint& own) { return reaches_listener(upstream, own, config_.node_ip); };
  if (const auto found = std::ranges::find_if(listening_, reached); found != listening_.end()) return *found;
  for (const auto& [own, why] : missing_) {
    if (reached(own)) return own;
  }
  return std::nullopt;
}

std::size_t Addresses::refused_upstreams() const {
  std::size_t count = 0;
  for (const Zone& zone : zones_)
    count += zone.refused.size();
  return count;
}

// The takeover
// --------------------------------------------------------------------------------------------------------------------

bool Addresses::is_link_local(const IpAddress& address) const {
  return std::ranges::any_of(config_.takeover.link_local, [&](const AddressSpec& spec) {
    return spec.kind == AddressSpec::Kind::Literal && spec.address == address;
  });
}

std::optional<dns::TakeoverPlan> Addresses::takeover_plan() const {
  const TakeoverConfig& config = config_.takeover;
  if (config.mode == TakeoverConfig::Mode::None || listening_.empty() || !bound()) return std::nullopt;
  for (std::size_t zone = 0; zone < zones_.size(); ++zone) {
    if (!zones_[zone].upstreams || (zones_[zone].upstreams->empty() && !config_.dns.zones[zone].from_resolv_conf))
      return std::nullopt;
  }
  std::vector<IpAddress> fallbacks;
  for (const AddressSpec& spec : config.fallback) {
    for (const Endpoint& where : meaning(spec))
      fallbacks.push_back(where.address);
  }
  dns::TakeoverPlan plan{.interface = config.interface,
                         .port = listening_.front().port,
                         .lease = config.lease,
                         .cluster_ips = {},
                         .link_locals = {}};
  for (const Endpoint& own : listening_) {
    if (!is_link_local(own.address)) {
      plan.cluster_ips.push_back(own.address);
      continue;
    }
    const auto fallback = std::ranges::find(fallbacks, own.address.is_v6(), &IpAddress::is_v6);
    if (fallback == fallbacks.end()) return std::nullopt;
    plan.link_locals.push_back({own.address, *fallback});
  }
  return plan;
}

void Addresses::read_resolv_conf() {
  const auto text = io::read_small_file(config_.dns.resolv_conf);
  if (!text) {
    log::warn("resolv_conf.unreadable", {{"file", config_.dns.resolv_conf}});
    return;  // those read before stay
  }
  const dns::ResolvConf configured = dns::parse_resolv_conf(*text);
  std::optional<dns::ResolvConf> systemd;
  if (const auto other = io::read_small_file(std::string(dns::kSystemdResolvedUpstreams))) {
    systemd = dns::parse_resolv_conf(*other);
  }
  const dns::ResolvConf& chosen = dns::choose_resolv_conf(configured, systemd);
  for (const std::string& problem : chosen.problems)
    log::warn("resolv_conf.problem", {{"line", problem}});
  for (const std::string& option : chosen.options)
    log::info("resolv_conf.option_ignored", {{"option", option}});
  resolv_conf_servers_ = chosen.nameservers;
  log::info("resolv_conf.read", {{"file", config_.dns.resolv_conf}, {"nameservers", listed(resolv_conf_servers_)}});
  apply_upstreams();
}

}  // namespace lastlight
