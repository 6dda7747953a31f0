#include "agent/config/keys.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <span>
#include <utility>

#include "agent/config/key_kinds.h"
#include "agent/config/values.h"

namespace lastlight {
namespace {

using namespace key_kinds;

constexpr const char* kAddress = "IP[:PORT], service:NAME[:PORT] or node[:PORT]";

// Control characters could not be printed back.
bool is_path(std::string_view given) {
  return given.starts_with('/') && std::all_of(given.begin(), given.end(), [](char c) {
           return static_cast<unsigned char>(c) >= ' ' && c != 0x7f;
         });
}
bool is_path_or_empty(std::string_view given) {
  return given.empty() || is_path(given);
}
bool is_origin_or_empty(std::string_view given) {
  return given.empty() || is_origin(given);
}
bool is_object_name_or_empty(std::string_view given) {
  return given.empty() || is_object_name(given);
}
// [DNS-NAME/]NAME, as keys of taints, labels and annotations are written.
bool is_qualified_name_or_empty(std::string_view given) {
  if (given.empty()) return true;
  const std::size_t slash = given.find('/');
  if (slash != std::string_view::npos && !is_object_name(given.substr(0, slash))) return false;
  const std::string_view name = slash == std::string_view::npos ? given : given.substr(slash + 1);
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  return !name.empty() && name.size() <= 63 && plain(name.front()) && plain(name.back()) &&
         std::ranges::all_of(name, [&](char c) { return plain(c) || c == '-' || c == '_' || c == '.'; });
}
bool is_qualified_name(std::string_view given) {
  return !given.empty() && is_qualified_name_or_empty(given);
}
bool is_endpoint_or_empty(std::string_view given) {
  return given.empty() || Endpoint::parse(given, 9254).has_value();
}
bool is_endpoint_or_node_or_empty(std::string_view given) {
  if (given.empty()) return true;
  const auto spec = AddressSpec::parse(given, 9253);
  return spec && spec->kind != AddressSpec::Kind::Service;
}

bool is_interface_name(std::string_view given) {
  return !given.empty() && given.size() <= 15 && std::all_of(given.begin(), given.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

void needs_restart(std::vector<Key>& keys, std::span<const std::string_view> but) {
  for (Key& key : keys) {
    if (std::ranges::find(but, key.name) != but.end()) continue;
    key.restart = true;
    needs_restart(key.keys, {});
  }
}

std::vector<Key> keys_of(ZoneConfig& zone) {
  Key name = domain("name", zone.name, "Names in this domain, by longest suffix; \".\" is every other name.");
  name.required = true;
  Key upstreams = addresses("upstreams", zone.upstreams, std::string("a list of ") + kAddress + ", or resolv.conf",
                            "Asked in order of health; resolv.conf follows the node's own resolvers.");
  upstreams.required = true;
  upstreams.word = "resolv.conf";
  upstreams.set_word = [&zone](bool used) {
    zone.upstreams.clear();
    zone.from_resolv_conf = used;
  };
  upstreams.has_word = [&zone] { return zone.from_resolv_conf; };
  return {std::move(name),
          std::move(upstreams),
          choice<Protocol>("protocol", zone.protocol, {{"udp", Protocol::Udp}, {"tcp", Protocol::Tcp}},
                           "udp asks again over TCP when the answer is truncated."),
          choice<Guard>("guard", zone.guard, {{"auto", Guard::Auto}, {"on", Guard::On}, {"off", Guard::Off}},
                        "Keep guard-pace toward these upstreams; auto: those with a link-local address."),
          duration("min-ttl", zone.min_ttl, 0s, 1h, "Shorter TTLs of positive answers are raised to this."),
          duration("max-ttl", zone.max_ttl, 0s, 168h, "Longer TTLs of positive answers are cut to this."),
          duration("max-negative-ttl", zone.max_negative_ttl, 0s, 3h, "The same for NXDOMAIN and NODATA (RFC 2308)."),
          duration("last-known-good", zone.last_known_good, 0s, 24h,
                   "A positive answer outlives NXDOMAIN and NODATA this long; 0s: they replace it."),
          choice<NxdomainCut>("nxdomain-cut", zone.nxdomain_cut,
                              {{"auto", NxdomainCut::Auto}, {"on", NxdomainCut::On}, {"off", NxdomainCut::Off}},
                              "Search-path names below a missing one are NXDOMAIN unasked (RFC 8020); auto: in the "
                              "cluster domain."),
          flag("relay-updates", zone.relay_updates, "Forward UPDATE and NOTIFY instead of refusing them."),
          flag("cache", zone.cache, "Keep this zone's answers.")};
}

Key zones(std::vector<ZoneConfig>& value) {
  Key key =
      scalar("zones", "a list of mappings with name and upstreams",
             "Which upstreams answer for which names. Without it: the cluster domain and the reverse zones over TCP to "
             "service:lastlight-upstream, everything else to resolv.conf.");
  key.shape = Key::Shape::Items;
  key.clear = [&value] { value.clear(); };
  key.append = [&value] { return keys_of(value.emplace_back()); };
  key.items = [&value] {
    std::vector<std::vector<Key>> out;
    for (ZoneConfig& zone : value)
      out.push_back(keys_of(zone));
    return out;
  };
  return key;
}

// What the forwarder is told of as it changes; the sockets and the upstreams' connections are as they were opened.
constexpr std::string_view kLive[] = {"cache-size", "failure-ttl", "max-flights", "max-waiters",     "max-per-client",
                                      "max-stale",  "stale-after", "stale-ttl",   "stale-after-hot", "stale-recheck",
                                      "prefetch",   "udp-payload", "zones",       "cluster-domain"};

std::vector<Key> keys_of(DnsConfig& dns) {
  std::vector<Key> keys = {
      addresses("listen", dns.listen, std::string("a list of ") + kAddress,
                "The addresses to answer on, over UDP and TCP; []: no DNS on this node but the agent's own."),
      size("receive-buffer", dns.receive_buffer, kib(64), mib(1024), "Of each UDP socket; the kernel may grant less."),
      size("cache-size", dns.cache_size, kib(64), mib(16384), "Memory for answers."),
      duration("query-timeout", dns.query_timeout, 10ms, 1min, "A question's whole life upstream; then SERVFAIL."),
      duration("attempt-timeout", dns.attempt_timeout, 10ms, 1min, "One upstream's turn."),
      number<std::uint32_t>("guard-pace", dns.guard_pace, 10, 1000000,
                            "Packets a second to guarded upstreams, shared with the metadata service."),
      duration("failure-ttl", dns.failure_ttl, 1s, 5min, "How long a failure is remembered (RFC 9520 s3.2)."),
      number<std::uint32_t>("max-flights", dns.max_flights, 1, 65536, "Distinct questions in flight."),
      number<std::uint32_t>("max-waiters", dns.max_waiters, 1, 65536, "Clients that wait for one question."),
      number<std::uint32_t>("max-per-client", dns.max_per_client, 1, 65536,
                            "Questions of one client address that wait; beyond: REFUSED."),
      duration("max-stale", dns.max_stale, 0s, 168h, "Expired answers are kept this long (RFC 8767); 0s: not at all."),
      duration("stale-after", dns.stale_after, 0s, 1min, "A client waits this long before it gets the expired answer."),
      duration("stale-after-hot", dns.stale_after_hot, 0s, 1min, "The same for names asked for in the last minutes."),
      duration("stale-ttl", dns.stale_ttl, 1s, 5min, "The TTL of expired answers."),
      duration("stale-recheck", dns.stale_recheck, 1s, 5min, "A name whose refresh failed is left alone this long."),
      flag("prefetch", dns.prefetch, "Names in use are asked again shortly before they expire."),
      number<std::uint16_t>("udp-payload", dns.udp_payload, 512, 4096,
                            "EDNS size advertised, and the most sent over UDP."),
      duration("tcp-idle-timeout", dns.tcp_idle_timeout, 10ms, 10min, "Then an idle client connection is closed."),
      duration("tcp-message-timeout", dns.tcp_message_timeout, 10ms, 10min, "For the whole of a client's message."),
      duration("tcp-write-timeout", dns.tcp_write_timeout, 10ms, 10min, "For a client to read on."),
      size("tcp-buffers", dns.tcp_buffers, kib(64), mib(16384),
           "Unfinished messages and unread answers of all client connections."),
      number<std::uint32_t>("tcp-max-connections", dns.tcp_max_connections, 1, 65536, "Client connections in all."),
      number<std::uint32_t>("tcp-max-per-client", dns.tcp_max_per_client, 1, 65536,
                            "Connections of one client address."),
      text("resolv-conf", dns.resolv_conf, "an absolute path", is_path, "The node's file; its changes are followed."),
      text("kube-dns-config", dns.kube_dns_config, "an absolute path, or empty", is_path_or_empty,
           "A directory with the kube-dns ConfigMap's stubDomains and upstreamNameservers; followed as it changes."),
      domain("cluster-domain", dns.cluster_domain, "Names that only the cluster's DNS can answer."),
      zones(dns.zones)};
  needs_restart(keys, kLive);
  return keys;
}

std::vector<Key> keys_of(TakeoverConfig& takeover) {
  using Mode = TakeoverConfig::Mode;
  return {choice<Mode>("mode", takeover.mode,
                       {{"none", Mode::None}, {"intercept", Mode::Intercept}, {"link-local", Mode::LinkLocal}},
                       "none: bind dns.listen and nothing else; intercept: take its ClusterIPs over while we serve; "
                       "link-local: serve the addresses of `link-local` alone."),
          addresses("link-local", takeover.link_local, "a list of IP[:PORT]",
                    "Addresses that the kubelet gives to pods and kube-proxy does not know."),
          addresses("fallback", takeover.fallback, "a list of IP or service:NAME",
                    "The Service that answers at the link-local addresses while we do not."),
          text("interface", takeover.interface, "a link's name, at most 15 letters, digits, - or _", is_interface_name,
               "Carries the addresses; made by us. `lo` serves where the kernel has no dummy links."),
          duration("lease", takeover.lease, 300ms, 1min, "How long a hung agent keeps the node's queries.")};
}

std::vector<Key> keys_of(StartupTaintConfig& taint) {
  return {flag("remove", taint.remove, "Take it away once names are answered end to end, upstream included."),
          text("key", taint.key, "a taint's key", is_qualified_name, "Whatever its value and effect.")};
}

std::vector<Key> keys_of(DrainConfig& drain) {
  using Order = DrainConfig::Order;
  return {
      choice<Order>("order", drain.order, {{"at-once", Order::AtOnce}, {"staged", Order::Staged}},
                    "staged: pods behind load balancers first, then stateful ones, then the rest, critical ones last."),
      text("taint", drain.taint, "a taint's key, or empty", is_qualified_name_or_empty,
           "Put on the node for the time of a drain, effect NoSchedule; empty: none."),
      text("state-file", drain.state_file, "an absolute path, or empty", is_path_or_empty,
           "What a restarted agent goes on from while the API server is away; empty: none."),
      duration("margin", drain.margin, 0s, 1min, "Every grace ends this long before the node does."),
      fraction("patience", drain.patience,
               "Of the window: how long a refused pod keeps its disruption budget at least."),
      duration("retry-min", drain.retry_min, 10ms, 1min, "Before a refused or failed eviction is tried again."),
      duration("retry-max", drain.retry_max, 10ms, 1min, "The longest such wait."),
      number<std::uint32_t>(
          "max-in-flight", drain.max_in_flight, 1, 256,
          "API requests at once; fewer while the server is slow, twice as many where a pod would be told late.")};
}

std::vector<Key> keys_of(KubernetesConfig& kubernetes) {
  return {text("api-server", kubernetes.api_server, "http://HOST[:PORT] or https://HOST[:PORT], or empty",
               is_origin_or_empty, "Empty: KUBERNETES_SERVICE_HOST and _PORT. http:// is for local runs."),
          text("token-file", kubernetes.token_file, "an absolute path", is_path, "Read again when it rotates."),
          text("ca-file", kubernetes.ca_file, "an absolute path, or empty", is_path_or_empty,
               "Whom to trust as the API server; empty: the system's authorities."),
          text("namespace", kubernetes.namespace_name, "a namespace's name", is_label, "The agent's own.")};
}

std::vector<Key> keys_of(HttpConfig& http) {
  return {text("listen", http.listen, "IP[:PORT] or node[:PORT], or empty", is_endpoint_or_node_or_empty,
               "/metrics, /healthz and /readyz; node: every address where node-ip is not set or not here; empty: off."),
          text("status", http.status, "IP[:PORT], or empty", is_endpoint_or_empty,
               "The status page and /status, for `kubectl port-forward`; empty: off.")};
}

std::vector<Key> keys_of(LogConfig& log) {
  using Level = LogConfig::Level;
  using Format = LogConfig::Format;
  return {
      choice<Level>("level", log.level,
                    {{"debug", Level::Debug}, {"info", Level::Info}, {"warn", Level::Warn}, {"error", Level::Error}},
                    "Events below it are not written."),
      choice<Format>("format", log.format, {{"text", Format::Text}, {"json", Format::JsonLines}},
                     "One line per event.")};
}

}  // namespace

std::vector<Key> keys_of(Config& config) {
  std::vector<Key> keys = {
      text("node-name", config.node_name, "a node's name", is_object_name_or_empty,
           "The Node object of this machine; NODE_NAME by the downward API."),
      optional_address("node-ip", config.node_ip, "What `node` means in an address; NODE_IP by the downward API."),
      duration("leave-last", config.leave_last, 0s, 1h,
               "On SIGTERM while the node is drained: how long its last pods still get answers; 0s: not at all."),
      duration("shutdown-grace", config.shutdown_grace, 0s, 10min,
               "SIGTERM to exit, at most; on a drained node after leave-last."),
      section("log", keys_of(config.log), "What is written to the standard error."),
      section("http", keys_of(config.http), "Metrics and probes."),
      section("dns", keys_of(config.dns), "The node's DNS cache."),
      section("takeover", keys_of(config.takeover), "How the node's queries get here."),
      section("startup-taint", keys_of(config.startup_taint),
              "A taint that whoever makes nodes puts there, so that no pod starts before its DNS."),
      section("interruption", interruption_keys(config.interruption), "How the end of the node is learned."),
      section("drain", keys_of(config.drain), "How its pods leave."),
      section("hooks", keys_of(config.hooks), "Whom the end of the node is told."),
      section("kubernetes", keys_of(config.kubernetes), "The API server.")};
  constexpr std::string_view live[] = {"log", "dns"};
  needs_restart(keys, live);
  return keys;
}

std::vector<ZoneConfig> default_zones(const std::string& cluster_domain) {
  ZoneConfig cluster;
  cluster.upstreams = {
      {.kind = AddressSpec::Kind::Service, .address = {}, .service = "lastlight-upstream", .port = 53}};
  cluster.protocol = Protocol::Tcp;
  cluster.max_negative_ttl = 5s;
  std::vector<ZoneConfig> zones;
  for (const std::string& name : {cluster_domain, std::string("in-addr.arpa"), std::string("ip6.arpa")}) {
    zones.push_back(cluster);
    zones.back().name = name;
  }
  ZoneConfig rest;
  rest.from_resolv_conf = true;
  zones.push_back(rest);
  return zones;
}

}  // namespace lastlight
