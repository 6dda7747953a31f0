// The configuration: one plain struct, every default once. Cores may include this header (it is values only); the YAML
// reader and its errors are in agent/config/file.h, the keys with their bounds in agent/config/keys.cpp. Keys are
// the field names with dashes, nested as the structs are. `lastlight check` prints all of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/base/time.h"

namespace lastlight {

using namespace std::chrono_literals;

// An address as the operator writes it: IP[:PORT], service:NAME[:PORT] (a Service's ClusterIPs) or node[:PORT] (the
// node's own address, NODE_IP by the downward API). app resolves the last two at start.
struct AddressSpec {
  enum class Kind { Literal, Service, Node };
  Kind kind = Kind::Literal;
  IpAddress address;    // Literal
  std::string service;  // Service
  std::uint16_t port = 53;

  static std::optional<AddressSpec> parse(std::string_view text, std::uint16_t default_port = 53);
  std::string to_string() const;
  bool operator==(const AddressSpec&) const = default;
};

enum class Protocol { Udp, Tcp };    // Udp: retried over TCP when the answer is truncated (RFC 7766 s5)
enum class Guard { Auto, On, Off };  // keep a packet pace toward upstreams; Auto: those with a link-local address

// Whether a zone's missing names answer for those below them (dnscache/cut.h). Auto: in the cluster domain.
enum class NxdomainCut { Auto, On, Off };

struct ZoneConfig {
  std::string name = ".";              // matched by longest suffix
  std::vector<AddressSpec> upstreams;  // asked in order of health; empty with from_resolv_conf
  bool from_resolv_conf = false;       // `upstreams: resolv.conf`: the node's file, followed as it changes
  Protocol protocol = Protocol::Udp;
  Guard guard = Guard::Auto;
  Duration min_ttl = 0s;
  Duration max_ttl = 3600s;
  Duration max_negative_ttl = 30s;  // NXDOMAIN and NODATA (RFC 2308 s5)
  Duration last_known_good = 0s;    // a positive answer outlives NXDOMAIN and NODATA this long; 0: they replace it
  NxdomainCut nxdomain_cut = NxdomainCut::Auto;
  bool relay_updates = false;  // forward UPDATE (RFC 2136) and NOTIFY (RFC 1996) instead of REFUSED
  bool cache = true;
  bool operator==(const ZoneConfig&) const = default;
};

struct DnsConfig {
  // The address to take over: pods ask the kube-dns ClusterIP.
  std::vector<AddressSpec> listen = {
      {.kind = AddressSpec::Kind::Service, .address = {}, .service = "kube-dns", .port = 53}};
  Bytes receive_buffer = mib(8);  // per UDP socket; read back, since the kernel may grant less
  Bytes cache_size = mib(32);
  Duration query_timeout = 5s;       // a question's whole life upstream; then SERVFAIL with an extended error
  Duration attempt_timeout = 2s;     // one upstream's turn
  std::uint32_t guard_pace = 900;    // packets a second to guarded upstreams; AWS drops beyond 1024
  Duration failure_ttl = 1s;         // RFC 9520 s3.2: failures are cached at least 1 s
  std::uint32_t max_flights = 4096;  // distinct questions in flight
  // Clients per question in flight: a whole node may ask one cold name at once. A waiter is some 250 bytes, and there
  // are at most 4 * max_flights in all: 4 MiB.
  std::uint32_t max_waiters = 4096;
  std::uint32_t max_per_client = 1024;  // questions of one client address that wait
  // RFC 8767: an expired answer is kept for max_stale and served with stale_ttl once its refresh failed, or took longer
  // than stale_after (stale_after_hot for names asked for in the last minutes). 0s of max_stale: never.
  Duration max_stale = 24h;
  Duration stale_after = 1800ms;
  Duration stale_after_hot = 300ms;
  Duration stale_ttl = 30s;
  Duration stale_recheck = 30s;       // a name whose refresh failed is left alone this long
  bool prefetch = true;               // names in use are asked again shortly before they expire
  std::uint16_t udp_payload = 1232;   // EDNS size we advertise and the most we send over UDP (RFC 9715)
  Duration tcp_idle_timeout = 10s;    // a client connection that is owed nothing (RFC 7766 s6.2.3)
  Duration tcp_message_timeout = 5s;  // from a message's first octet to its last
  Duration tcp_write_timeout = 5s;    // a client that reads nothing of what waits for it
  Bytes tcp_buffers = mib(16);        // unfinished messages and unread answers of all client connections
  std::uint32_t tcp_max_connections = 1024;
  std::uint32_t tcp_max_per_client = 64;
  std::string resolv_conf = "/etc/resolv.conf";
  std::string kube_dns_config;  // a directory: the ConfigMap kube-dns, mounted; empty: none
  std::string cluster_domain = "cluster.local";
  // Filled by default_zones() when the file names none.
  std::vector<ZoneConfig> zones;
  bool operator==(const DnsConfig&) const = default;
};

// cluster domain (TCP to service:lastlight-upstream, negative 5 s), in-addr.arpa, ip6.arpa, and "." by resolv.conf.
std::vector<ZoneConfig> default_zones(const std::string& cluster_domain);

// How the node's queries get here.
struct TakeoverConfig {
  enum class Mode {
    None,       // dns.listen is bound, and whoever sends queries there has seen to it
    Intercept,  // dns.listen are ClusterIPs of this cluster: taken while we serve, kube-proxy's otherwise
    LinkLocal,  // the addresses of link-local alone (kube-proxy in IPVS mode holds the ClusterIPs itself)
  };
  Mode mode = Mode::None;
  std::vector<AddressSpec> link_local;  // given to pods by the kubelet; kube-proxy does not know them
  // Where link-local clients' queries go while we are not there.
  std::vector<AddressSpec> fallback = {
      {.kind = AddressSpec::Kind::Service, .address = {}, .service = "lastlight-upstream", .port = 53}};
  std::string interface = "lastlight";
  Duration lease = 1500ms;  // a hung agent loses the node's queries after it; renewed six times as often
  bool operator==(const TakeoverConfig&) const = default;
};

// A taint that keeps pods away from a node until its DNS works. Whoever makes nodes puts it there (the kubelet's
// --register-with-taints, a node group, a NodePool's startupTaints); we take it away.
struct StartupTaintConfig {
  bool remove = false;
  // The cluster autoscaler takes a key with this prefix for one that goes by itself, and ignores it in its templates.
  std::string key = "startup-taint.cluster-autoscaler.kubernetes.io/lastlight";
  bool operator==(const StartupTaintConfig&) const = default;
};

// What is done about a notice.
enum class Treatment {
  Ignore,
  Event,    // told, nothing else
  Taint,    // PreferNoSchedule: new pods go elsewhere where they can; until mark_expiry
  Cordon,   // and pods that are here stay; until mark_expiry
  Drain,    // at once
  DrainAt,  // `lead` ahead of the time it names
};

struct CodePolicy {
  std::string code;  // the cloud's own word: instance-retirement, Redeploy, TERMINATE_ON_HOST_MAINTENANCE
  Treatment treatment = Treatment::Event;
  bool operator==(const CodePolicy&) const = default;
};

struct PolicyConfig {
  Treatment spot_terminate = Treatment::Drain;
  Treatment spot_stop = Treatment::Cordon;
  Treatment spot_hibernate = Treatment::Cordon;
  Treatment preempt = Treatment::Drain;
  Treatment terminate = Treatment::Drain;
  Treatment asg_terminate = Treatment::Drain;
  Treatment reboot = Treatment::DrainAt;
  Treatment redeploy = Treatment::DrainAt;
  Treatment maintenance = Treatment::DrainAt;
  Treatment rebalance = Treatment::Event;
  Treatment freeze = Treatment::Event;
  Treatment live_migration = Treatment::Event;
  std::vector<CodePolicy> codes;           // win over the kinds
  Duration lead = 10min;                   // of DrainAt
  Duration assumed_window = 120s;          // a drain for a notice that names no time
  Duration mark_expiry = 1h;               // of Taint and Cordon, after the time it names, else after its making
  Duration rebalance_minimum_age = 10min;  // of the node: younger ones are only told of
  Duration rebalance_period = 1h;          // at most one recommendation is acted upon in it
  bool operator==(const PolicyConfig&) const = default;
};

struct InterruptionConfig {
  enum class Source { None, Auto, Aws, Gcp, Azure };
  Source source = Source::Auto;
  std::string metadata_url;  // empty: the cloud's own, by IPv4 and, on AWS, by IPv6
  Duration poll = 1s;        // AWS's spot notice, Azure's events; GCP is not polled
  Duration poll_slow = 20s;  // AWS's other items, in turn
  Duration request_timeout = 1s;
  Duration backoff_min = 200ms;
  Duration backoff_max = 2s;
  Duration token_ttl = 6h;  // asked of IMDSv2; renewed at half of what was granted
  bool imds_v1 = false;     // ask AWS without a token when none is to be had
  Duration gcp_hang = 5s;   // the longest a hanging GET waits for a change: how long a dead connection goes unnoticed
  Duration gcp_preemption_window = 30s;   // 120 s with the notice-duration preview
  Duration gcp_maintenance_window = 60s;  // up to an hour for GPU hosts
  bool azure_acknowledge = false;         // StartRequests once drained, when the event names no other machine
  PolicyConfig policy;
  bool operator==(const InterruptionConfig&) const = default;
};

struct DrainConfig {
  enum class Order {
    AtOnce,  // every pod's eviction at the first instant
    Staged,  // behind load balancers, stateful, the rest, critical: interrupt/plan.h
  };
  Order order = Order::AtOnce;
  // On the node during a drain, effect NoSchedule; a prefix that the cluster autoscaler takes for a node's status, so
  // that it does not scale up for pods that would land here. Empty: no taint.
  std::string taint = "status-taint.cluster-autoscaler.kubernetes.io/lastlight-interruption";
  std::string state_file = "/run/lastlight/drain.json";  // what a restarted agent goes on from; empty: none
  Duration margin = 3s;                                  // every grace ends this long before the node's end
  double patience = 1.0 / 6;   // of the window: how long a refused pod keeps its budget at least
  Duration retry_min = 250ms;  // back-off of a refused or failed eviction
  Duration retry_max = 5s;
  std::uint32_t max_in_flight = 8;  // API requests at once, each a TLS connection of some 150 KiB
  bool operator==(const DrainConfig&) const = default;
};

enum class HookPhase { Notice, DrainStarted, PodRefused, Progress, Drained, Failed, Withdrawn };

struct HeaderConfig {
  std::string name;
  std::string value;
  std::string value_file;  // read at each request: a secret that may rotate
  bool operator==(const HeaderConfig&) const = default;
};

struct WebhookConfig {
  std::string name;  // in logs and metrics, which never show the URL
  std::string url;
  std::string url_file;  // instead of `url`, where the URL is itself a secret
  std::vector<HookPhase> phases = {HookPhase::Notice,   HookPhase::DrainStarted, HookPhase::PodRefused,
                                   HookPhase::Progress, HookPhase::Drained,      HookPhase::Failed,
                                   HookPhase::Withdrawn};
  std::vector<HeaderConfig> headers;
  std::string body = "{{ json . }}";  // interrupt/hooks/template.h
  Duration timeout = 5s;
  Duration hold = 0s;  // how long the first evictions may wait for its answer to `notice`
  bool operator==(const WebhookConfig&) const = default;
};

struct CommandConfig {
  std::string file;  // in commands-directory
  std::vector<HookPhase> phases = {HookPhase::Notice};
  Duration timeout = 10s;  // then SIGTERM, and SIGKILL a second later
  Duration hold = 0s;
  bool operator==(const CommandConfig&) const = default;
};

struct HooksConfig {
  // Where pods ask GET /interruption; an address that is not there yet is tried again.
  std::vector<AddressSpec> listen = {{.kind = AddressSpec::Kind::Node, .address = {}, .service = {}, .port = 9255}};
  Duration progress_interval = 5s;
  std::string ca_file;  // whom webhooks trust; empty: the system's authorities
  std::vector<WebhookConfig> webhooks;
  std::string commands_directory = "/etc/lastlight/commands";
  std::vector<CommandConfig> commands;
  bool operator==(const HooksConfig&) const = default;
};

struct KubernetesConfig {
  std::string api_server;  // empty: KUBERNETES_SERVICE_HOST and _PORT; http:// only for local runs
  std::string token_file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
  std::string ca_file = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
  std::string namespace_name = "kube-system";  // key `namespace`; env POD_NAMESPACE
  bool operator==(const KubernetesConfig&) const = default;
};

struct HttpConfig {
  std::string listen = "node:9253";       // /metrics /healthz /readyz; an IP:PORT, node:PORT, empty: off
  std::string status = "127.0.0.1:9254";  // the status page and /status; an IP:PORT, empty: off
  bool operator==(const HttpConfig&) const = default;
};

struct LogConfig {
  enum class Level { Debug, Info, Warn, Error };
  enum class Format { Text, JsonLines };
  Level level = Level::Info;
  Format format = Format::Text;
  bool operator==(const LogConfig&) const = default;
};

struct Config {
  std::string node_name;             // env NODE_NAME, --node-name; required unless interruption.source is none
  std::optional<IpAddress> node_ip;  // env NODE_IP, --node-ip; what `node` means in an address
  Duration leave_last = 0s;          // SIGTERM on a node that is drained: how long its last pods still get answers
  Duration shutdown_grace = 5s;      // after that, or on any other SIGTERM: to exit, at most
  LogConfig log;
  HttpConfig http;
  DnsConfig dns;
  TakeoverConfig takeover;
  StartupTaintConfig startup_taint;
  InterruptionConfig interruption;
  DrainConfig drain;
  HooksConfig hooks;
  KubernetesConfig kubernetes;
  bool operator==(const Config&) const = default;
};

}  // namespace lastlight
