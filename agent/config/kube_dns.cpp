#include "agent/config/kube_dns.h"

#include <algorithm>
#include <utility>

#include "agent/base/json.h"
#include "agent/config/rules.h"
#include "agent/config/values.h"

namespace lastlight {
namespace {

constexpr std::size_t kMostNameservers = 3;
constexpr const char* kStubDomains = "stubDomains";
constexpr const char* kUpstreamNameservers = "upstreamNameservers";

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::expected<std::vector<AddressSpec>, std::string> servers(const Json& list) {
  std::vector<AddressSpec> out;
  if (!list.is_array()) return std::unexpected("expected a list of IP[:PORT]");
  for (const Json& entry : list) {
    const auto spec = AddressSpec::parse(string_or_empty(&entry));
    if (!spec || spec->kind != AddressSpec::Kind::Literal) {
      return std::unexpected("expected IP[:PORT], not " + dump_json(entry));
    }
    out.push_back(*spec);
  }
  return out;
}

// None: it is not there.
std::optional<std::string> read_key(const std::string& directory, const char* key) {
  auto text = read_config_text(directory + "/" + key);
  return text ? std::optional(std::move(*text)) : std::nullopt;
}

}  // namespace

std::expected<KubeDns, std::string> parse_kube_dns(std::optional<std::string_view> stub_domains,
                                                   std::optional<std::string_view> upstream_nameservers) {
  KubeDns out;
  const auto wrong = [](const char* key, const std::string& why) {
    return std::unexpected(std::string(key) + ": " + why);
  };
  if (stub_domains && !is_blank(*stub_domains)) {
    const auto json = parse_json(*stub_domains);
    if (!json) return wrong(kStubDomains, json.error());
    if (!json->is_object()) return wrong(kStubDomains, "expected an object of domains and lists of IP[:PORT]");
    for (const auto& [domain, list] : object_or_empty(&*json)) {
      const auto name = normal_domain(domain);
      auto upstreams = servers(list);
      if (!name || *name == ".") return wrong(kStubDomains, "expected a domain name, not \"" + domain + "\"");
      if (!upstreams) return wrong(kStubDomains, domain + ": " + upstreams.error());
      if (upstreams->empty()) return wrong(kStubDomains, domain + ": is empty: nobody could be asked");
      out.stub_domains.emplace_back(*name, std::move(*upstreams));
    }
  }
  if (upstream_nameservers && !is_blank(*upstream_nameservers)) {
    const auto json = parse_json(*upstream_nameservers);
    if (!json) return wrong(kUpstreamNameservers, json.error());
    auto upstreams = servers(*json);
    if (!upstreams) return wrong(kUpstreamNameservers, upstreams.error());
    if (upstreams->size() > kMostNameservers) return wrong(kUpstreamNameservers, "expected at most three");
    out.upstream_nameservers = std::move(*upstreams);
  }
  return out;
}

void add_to(DnsConfig& dns, const KubeDns& kube_dns) {
  const auto set = [&](const std::string& name, const std::vector<AddressSpec>& upstreams) {
    const auto found = std::ranges::find(dns.zones, name, &ZoneConfig::name);
    ZoneConfig& zone = found == dns.zones.end() ? dns.zones.emplace_back() : *found;
    zone.name = name;
    zone.upstreams = upstreams;
    zone.from_resolv_conf = false;
    zone.protocol = Protocol::Udp;
  };
  for (const auto& [domain, upstreams] : kube_dns.stub_domains)
    set(domain, upstreams);
  if (!kube_dns.upstream_nameservers.empty()) set(".", kube_dns.upstream_nameservers);
}

ConfigResult with_kube_dns(Config config) {
  const std::string& directory = config.dns.kube_dns_config;
  if (directory.empty()) return config;
  const auto parsed = parse_kube_dns(read_key(directory, kStubDomains), read_key(directory, kUpstreamNameservers));
  if (!parsed) return std::unexpected(std::vector{ConfigError{directory, 0, "", parsed.error()}});
  std::vector<ConfigError> errors;
  add_to(config.dns, *parsed);
  check_rules(config, [&](const std::string& key, const std::string& message) {
    errors.push_back({directory, 0, key, message});
  });
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return config;
}

}  // namespace lastlight
