#include "agent/config/rules.h"

#include <optional>
#include <set>

#include "agent/config/values.h"

namespace lastlight {
namespace {

using Problem = std::function<void(const std::string&, const std::string&)>;

struct Ordered {
  const char* section;
  const char* low;
  Duration low_value;
  const char* high;
  Duration high_value;
};

void check_order(const Ordered& pair, const Problem& problem) {
  if (pair.low_value <= pair.high_value) return;
  problem(std::string(pair.section) + "." + pair.low,
          print_duration(pair.low_value) + " is more than " + pair.high + ", " + print_duration(pair.high_value));
}

bool in_domain(std::string_view name, std::string_view domain) {
  if (domain == ".") return true;
  if (!name.ends_with(domain)) return false;
  return name.size() == domain.size() || name[name.size() - domain.size() - 1] == '.';
}

// What can be known of an address before it is resolved: a Service's stays none.
std::optional<Endpoint> known_endpoint(const AddressSpec& spec, const Config& config) {
  if (spec.kind == AddressSpec::Kind::Literal) return Endpoint{spec.address, spec.port};
  if (spec.kind == AddressSpec::Kind::Node && config.node_ip) return Endpoint{*config.node_ip, spec.port};
  return std::nullopt;
}

bool is_ourselves(const AddressSpec& upstream, const AddressSpec& listen, const Config& config) {
  if (upstream == listen) return true;
  const auto to = known_endpoint(upstream, config);
  const auto at = known_endpoint(listen, config);
  if (to && at) return reaches_listener(*to, *at, config.node_ip);
  // `node` is some address of this machine, so the wildcard has it whatever it is.
  return at && upstream.kind == AddressSpec::Kind::Node && at->address.is_unspecified() && at->port == upstream.port;
}

void check_upstreams(const Config& config, const ZoneConfig& zone, const std::string& key, const Problem& problem) {
  for (const AddressSpec& upstream : zone.upstreams) {
    if (upstream.kind == AddressSpec::Kind::Literal && upstream.address.is_unspecified()) {
      problem(key, upstream.to_string() + " is no address to ask");
      continue;
    }
    for (const AddressSpec& listen : config.dns.listen) {
      if (!is_ourselves(upstream, listen, config)) continue;
      problem(key, upstream.to_string() + " is where we listen (dns.listen: " + listen.to_string() +
                       "): queries would come back to us");
    }
  }
}

// The root is the shortest suffix, though it is written with a character.
std::size_t labels_size(const ZoneConfig& zone) {
  return zone.name == "." ? 0 : zone.name.size();
}

void check_cluster_zone(const Config& config, const Problem& problem) {
  const ZoneConfig* answers = nullptr;
  for (const ZoneConfig& zone : config.dns.zones) {
    if (in_domain(config.dns.cluster_domain, zone.name) && (!answers || labels_size(zone) > labels_size(*answers))) {
      answers = &zone;
    }
  }
  if (!answers) {
    problem("dns.zones", "no zone answers for the cluster domain " + config.dns.cluster_domain);
  } else if (answers->from_resolv_conf) {
    problem("dns.zones", "the cluster domain " + config.dns.cluster_domain +
                             " would be asked of resolv.conf, which cannot know it; give it a zone with upstreams");
  }
}

void check_zones(const Config& config, const Problem& problem) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < config.dns.zones.size(); ++i) {
    const ZoneConfig& zone = config.dns.zones[i];
    const std::string key = "dns.zones[" + std::to_string(i) + "]";
    if (!names.insert(zone.name).second) problem(key + ".name", "the zone " + zone.name + " is there already");
    if (zone.upstreams.empty() && !zone.from_resolv_conf)
      problem(key + ".upstreams", "is empty: nobody could be asked");
    check_order({key.c_str(), "min-ttl", zone.min_ttl, "max-ttl", zone.max_ttl}, problem);
    check_upstreams(config, zone, key + ".upstreams", problem);
  }
}

// One rule set serves one port, and only addresses that can be put on a link can be taken over.
void check_takeover(const Config& config, const Problem& problem) {
  using Mode = TakeoverConfig::Mode;
  const TakeoverConfig& takeover = config.takeover;
  if (takeover.mode == Mode::LinkLocal && takeover.link_local.empty())
    problem("takeover.link-local", "is empty: takeover.mode is link-local");
  for (const AddressSpec& each : takeover.link_local) {
    if (each.kind != AddressSpec::Kind::Literal) problem("takeover.link-local", each.to_string() + " is no IP address");
  }
  if (takeover.mode == Mode::None) return;
  std::set<std::uint16_t> ports;
  for (const AddressSpec& each : takeover.link_local)
    ports.insert(each.port);
  if (takeover.mode == Mode::Intercept) {
    for (const AddressSpec& each : config.dns.listen) {
      ports.insert(each.port);
      const bool own =
          each.kind == AddressSpec::Kind::Node ||
          (each.kind == AddressSpec::Kind::Literal && (each.address.is_unspecified() || each.address.is_loopback()));
      if (own) problem("dns.listen", each.to_string() + " cannot be taken over: takeover.mode is intercept");
    }
  }
  if (ports.size() > 1) problem("takeover.mode", "addresses that are taken over must have the same port");
}

}  // namespace

bool reaches_listener(const Endpoint& upstream, const Endpoint& listen, const std::optional<IpAddress>& node_ip) {
  if (upstream.port != listen.port) return false;
  if (upstream.address == listen.address) return true;
  if (!listen.address.is_unspecified() || listen.address.is_v6() != upstream.address.is_v6()) return false;
  return upstream.address.is_loopback() || upstream.address == node_ip;
}

bool serves_dns(const Config& config) {
  return !config.dns.listen.empty() || config.takeover.mode != TakeoverConfig::Mode::None;
}

void check_rules(const Config& config, const Problem& problem) {
  const DnsConfig& dns = config.dns;
  const InterruptionConfig& interruption = config.interruption;
  check_order({"dns", "attempt-timeout", dns.attempt_timeout, "query-timeout", dns.query_timeout}, problem);
  check_order({"interruption", "backoff-min", interruption.backoff_min, "backoff-max", interruption.backoff_max},
              problem);
  check_order({"drain", "retry-min", config.drain.retry_min, "retry-max", config.drain.retry_max}, problem);
  if (dns.tcp_max_per_client > dns.tcp_max_connections) {
    problem("dns.tcp-max-per-client", std::to_string(dns.tcp_max_per_client) + " is more than tcp-max-connections, " +
                                          std::to_string(dns.tcp_max_connections));
  }
  if (config.node_name.empty() && interruption.source != InterruptionConfig::Source::None) {
    problem("node-name", "is needed to drain this node: set NODE_NAME or --node-name, or interruption.source: none");
  }
  if (dns.listen.empty() && config.takeover.mode == TakeoverConfig::Mode::Intercept)
    problem("dns.listen", "is empty: takeover.mode is intercept");
  if (!serves_dns(config) && interruption.source == InterruptionConfig::Source::None)
    problem("dns.listen", "is empty, and interruption.source is none: there is nothing to do");
  if (config.startup_taint.remove && (config.node_name.empty() || !serves_dns(config)))
    problem("startup-taint.remove", config.node_name.empty() ? "needs node-name: set NODE_NAME or --node-name"
                                                             : "dns.listen is empty: no name is answered here");
  std::set<std::string> listens;
  for (const AddressSpec& listen : dns.listen) {
    if (!listens.insert(listen.to_string()).second) problem("dns.listen", listen.to_string() + " is there already");
  }
  check_takeover(config, problem);
  check_zones(config, problem);
  check_cluster_zone(config, problem);
}

}  // namespace lastlight
