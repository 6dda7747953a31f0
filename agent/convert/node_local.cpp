#include "agent/convert/node_local.h"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "agent/config/values.h"
#include "agent/convert/plugins.h"

namespace lastlight::convert {
namespace {

constexpr std::string_view kDomain = "__PILLAR__DNS__DOMAIN__";
constexpr std::string_view kLocal = "__PILLAR__LOCAL__DNS__";      // the link-local address, or both
constexpr std::string_view kServer = "__PILLAR__DNS__SERVER__";    // the ClusterIP of kube-dns
constexpr std::string_view kCluster = "__PILLAR__CLUSTER__DNS__";  // a second Service for the same pods
constexpr std::string_view kUpstream = "__PILLAR__UPSTREAM__SERVERS__";
constexpr std::string_view kMetrics = "__PROMETHEUS__ENDPOINT__";
constexpr std::string_view kLocalAddress = "169.254.20.10";

class Conversion {
 public:
  Conversion(Config& config, Remarks& remarks) : config_(config), remarks_(remarks) { config_.dns.listen.clear(); }

  void add(const ServerBlock& block) {
    ZoneConfig zone;
    zone.cache = false;
    bool asks = false;
    std::vector<std::string> names = names_of(block);
    for (const Directive& each : block.directives) {
      if (each.name == "bind") {
        bind(each);
      } else if (each.name == "cache") {
        cache(each, zone);
      } else if (each.name == "forward" || each.name == "proxy") {
        asks = forward(each, zone, names) || asks;
      } else if (each.name == "prometheus") {
        metrics(each);
      } else if (each.name == "bufsize") {
        payload(each);
      } else {
        other(each);
      }
    }
    if (!asks)
      return lose(block.line, joined(names),
                  "has no upstream that could be carried over: its names are asked with the rest");
    for (const std::string& name : names)
      put(name, zone, block.line);
  }

  void finish() {
    DnsConfig& dns = config_.dns;
    TakeoverConfig& takeover = config_.takeover;
    if (!dns.listen.empty()) {
      takeover.mode = TakeoverConfig::Mode::Intercept;
    } else if (!takeover.link_local.empty()) {
      takeover.mode = TakeoverConfig::Mode::LinkLocal;
    } else {
      dns.listen = {{.kind = AddressSpec::Kind::Node, .address = {}, .service = {}, .port = 53}};
      remarks_.push_back({0, "bind", "there is none: the agent listens on the node's address", true});
    }
    if (takeover.mode == TakeoverConfig::Mode::LinkLocal) dns.listen = DnsConfig{}.listen;  // not used
    find_cluster_domain();
    const auto has = [&](const std::string& name) {
      return std::ranges::find(dns.zones, name, &ZoneConfig::name) != dns.zones.end();
    };
    for (ZoneConfig& usual : default_zones(dns.cluster_domain)) {
      if (has(usual.name)) continue;
      lose(0, usual.name, "is no zone of the Corefile; it gets the usual upstreams");
      dns.zones.push_back(std::move(usual));
    }
  }

 private:
  // Where no placeholder says it: the zone that is asked of whom the reverse zones are asked of.
  void find_cluster_domain() {
    DnsConfig& dns = config_.dns;
    if (std::ranges::find(dns.zones, dns.cluster_domain, &ZoneConfig::name) != dns.zones.end()) return;
    const auto reverse = std::ranges::find(dns.zones, "in-addr.arpa", &ZoneConfig::name);
    if (reverse == dns.zones.end()) return;
    const auto like = std::ranges::find_if(dns.zones, [&](const ZoneConfig& zone) {
      return zone.name != "." && !zone.name.ends_with(".arpa") && zone.upstreams == reverse->upstreams;
    });
    if (like != dns.zones.end()) dns.cluster_domain = like->name;
  }

  void lose(int line, std::string what, std::string why) {
    remarks_.push_back({line, std::move(what), std::move(why), true});
  }
  void note(int line, std::string what, std::string why) {
    remarks_.push_back({line, std::move(what), std::move(why), false});
  }

  static std::string joined(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words)
      out += (out.empty() ? "" : " ") + word;
    return out;
  }

  std::vector<std::string> names_of(const ServerBlock& block) {
    std::vector<std::string> out;
    for (std::string key : block.keys) {
      const std::string written = key;
      if (key.starts_with("dns://")) key.erase(0, 6);
      if (key.find("://") != std::string::npos) {
        lose(block.line, written, "only plain DNS is served");
        continue;
      }
      if (const auto colon = key.rfind(':'); colon != std::string::npos) {
        if (key.substr(colon + 1) != "53") lose(block.line, written, "is served at port 53 as the rest");
        key.resize(colon);
      }
      if (key == kDomain) {
        note(block.line, written,
             "is taken for cluster.local; set dns.cluster-domain and the zone's name where it is another");
        key = "cluster.local";
      }
      if (const auto name = normal_domain(key)) {
        out.push_back(*name);
      } else {
        lose(block.line, written, "is no domain name (reverse zones are written as in-addr.arpa and ip6.arpa)");
      }
    }
    return out;
  }

  void add_listen(std::vector<AddressSpec>& list, const AddressSpec& spec) {
    if (std::ranges::find(list, spec) == list.end()) list.push_back(spec);
  }

  void bind(const Directive& directive) {
    for (const std::string& word : directive.arguments) {
      if (word == kServer) {
        add_listen(config_.dns.listen, DnsConfig{}.listen.front());
        continue;
      }
      if (word == kLocal && config_.takeover.link_local.empty()) {
        note(directive.line, word,
             "is taken for " + std::string(kLocalAddress) + "; set takeover.link-local where it is another");
      }
      const auto spec = AddressSpec::parse(word == kLocal ? kLocalAddress : std::string_view(word));
      if (!spec || spec->kind != AddressSpec::Kind::Literal || spec->address.is_unspecified() ||
          spec->address.is_loopback()) {
        lose(directive.line, "bind " + word, "only a link-local address or a ClusterIP can be taken over");
      } else if (spec->address.is_link_local()) {
        add_listen(config_.takeover.link_local, *spec);
      } else {
        add_listen(config_.dns.listen, *spec);
      }
    }
  }

  // A CoreDNS duration, or seconds without a unit.
  static std::optional<Duration> seconds(const std::string& word) {
    if (const auto number = parse_number(word); number && *number < 1000000) return std::chrono::seconds(*number);
    return parse_duration(word);
  }

  void limit(const Directive& directive, const std::string& word, Duration most, Duration& out) {
    const auto given = seconds(word);
    if (!given) return lose(directive.line, directive.name + " " + word, "is no time");
    if (*given > most) note(directive.line, directive.name + " " + word, "is cut to " + print_duration(most));
    out = std::min(*given, most);
  }

  void cache(const Directive& directive, ZoneConfig& zone) {
    zone.cache = true;
    if (!directive.arguments.empty()) {
      limit(directive, directive.arguments[0], 168h, zone.max_ttl);
      limit(directive, directive.arguments[0], 3h, zone.max_negative_ttl);
      if (directive.arguments.size() > 1) lose(directive.line, "cache of some zones", "a zone is cached as a whole");
    } else {
      zone.max_negative_ttl = 30min;  // CoreDNS's own
    }
    for (const Directive& each : directive.block)
      cache_option(each, zone);
  }

  void cache_option(const Directive& each, ZoneConfig& zone) {
    const std::vector<std::string>& words = each.arguments;
    const std::string what = "cache: " + each.name;
    if (each.name == "success" || each.name == "denial") {
      if (!std::exchange(said_capacity_, true))
        note(each.line, what, "a capacity in items is not carried over: dns.cache-size is in bytes, for all zones");
      const bool success = each.name == "success";
      if (words.size() > 1)
        limit(each, words[1], success ? Duration(168h) : Duration(3h), success ? zone.max_ttl : zone.max_negative_ttl);
      if (words.size() > 2 && success) limit(each, words[2], 1h, zone.min_ttl);
      if (words.size() > 2 && !success) lose(each.line, what, "negative answers have no least TTL");
    } else if (each.name == "serve_stale") {
      config_.dns.max_stale = 1h;  // CoreDNS's own
      if (!words.empty()) limit(each, words[0], 168h, config_.dns.max_stale);
      note(each.line, what, "holds for every zone here: dns.max-stale");
    } else if (each.name == "servfail") {
      if (!words.empty()) limit(each, words[0], 5min, config_.dns.failure_ttl);
      config_.dns.failure_ttl = std::max<Duration>(config_.dns.failure_ttl, 1s);
      note(each.line, what, "holds for every zone here: dns.failure-ttl, at least 1 s (RFC 9520)");
    } else if (each.name == "prefetch") {
      note(each.line, what, "names in use are always asked again before they expire: dns.prefetch");
    } else {
      lose(each.line, what, "there is no such choice");
    }
  }

  bool forward(const Directive& directive, ZoneConfig& zone, std::vector<std::string>& names) {
    if (directive.arguments.empty()) return false;
    if (const auto from = normal_domain(directive.arguments[0]); from && *from != ".") names = {*from};
    for (std::size_t i = 1; i < directive.arguments.size(); ++i)
      upstream(directive, directive.arguments[i], zone, names);
    for (const Directive& each : directive.block) {
      const std::string what = "forward: " + each.name;
      if (each.name == "force_tcp") {
        zone.protocol = Protocol::Tcp;
      } else if (each.name == "prefer_udp" || each.name == "expire" || each.name == "max_fails" ||
                 each.name == "health_check" || each.name == "policy" ||
                 each.name == "failfast_all_unhealthy_upstreams") {
        note(each.line, what, "is not needed: each upstream's health and delay are learned");
      } else if (each.name == "max_concurrent") {
        note(each.line, what, "dns.max-flights bounds all zones together, and clients wait instead of being refused");
      } else if (each.name == "except") {
        lose(each.line, what + " " + joined(each.arguments), "give these names a zone of their own");
      } else {
        lose(each.line, what, "there is no such choice");
      }
    }
    return zone.from_resolv_conf || !zone.upstreams.empty();
  }

  void upstream(const Directive& directive, const std::string& word, ZoneConfig& zone,
                const std::vector<std::string>& names) {
    if (word == kUpstream || word.starts_with('/')) {
      zone.from_resolv_conf = true;
      if (word.starts_with('/') && word != "/etc/resolv.conf")
        note(directive.line, word, "dns.resolv-conf says where that file is mounted");
      return;
    }
    if (word == kCluster) {
      zone.upstreams.push_back(default_zones(config_.dns.cluster_domain).front().upstreams.front());
      if (!names.empty() && names.front() != "." && !names.front().ends_with(".arpa"))
        config_.dns.cluster_domain = names.front();
      return;
    }
    const std::string plain = word.starts_with("dns://") ? word.substr(6) : word;
    const auto spec = AddressSpec::parse(plain);
    if (spec && spec->kind == AddressSpec::Kind::Literal) {
      zone.upstreams.push_back(*spec);
    } else {
      lose(directive.line, "forward to " + word,
           plain.find("://") != std::string::npos ? "upstreams are asked by plain DNS only" : "is no IP address");
    }
  }

  void metrics(const Directive& directive) {
    if (directive.arguments.empty() || directive.arguments[0] == kMetrics) return;
    const std::string& word = directive.arguments[0];
    const std::string where = word.starts_with(':') ? "node" + word : word;
    if (!AddressSpec::parse(where, 9253)) return lose(directive.line, "prometheus " + word, "is no IP:PORT");
    config_.http.listen = where;
  }

  void payload(const Directive& directive) {
    const auto size = directive.arguments.empty() ? std::nullopt : parse_number(directive.arguments[0]);
    if (!size || *size < 512 || *size > 4096) return lose(directive.line, "bufsize", "dns.udp-payload stays as it is");
    config_.dns.udp_payload = static_cast<std::uint16_t>(*size);
    note(directive.line, "bufsize", "holds for every zone here: dns.udp-payload");
  }

  void other(const Directive& directive) {
    const auto known = std::ranges::find(kPlugins, directive.name, &Plugin::name);
    if (known == kPlugins.end()) return lose(directive.line, directive.name, "is not known here");
    if (known->why.empty() || !said_.emplace(directive.name, directive.line).second) return;
    remarks_.push_back({directive.line, directive.name, std::string(known->why), known->lost});
  }

  void put(const std::string& name, const ZoneConfig& zone, int line) {
    if (std::ranges::find(config_.dns.zones, name, &ZoneConfig::name) != config_.dns.zones.end()) {
      return lose(line, name, "is there already; the first one holds");
    }
    config_.dns.zones.push_back(zone);
    ZoneConfig& added = config_.dns.zones.back();
    added.name = name;
    if (!added.from_resolv_conf) return;
    if (!added.upstreams.empty()) lose(line, name, "is asked of resolv.conf alone, not of the addresses beside it");
    added.upstreams.clear();
  }

  Config& config_;
  Remarks& remarks_;
  bool said_capacity_ = false;
  std::map<std::string, int> said_;
};

}  // namespace

void add_node_local(Config& config, const std::vector<ServerBlock>& blocks, Remarks& remarks) {
  Conversion conversion(config, remarks);
  for (const ServerBlock& block : blocks)
    conversion.add(block);
  conversion.finish();
}

}  // namespace lastlight::convert
