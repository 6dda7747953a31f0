// The ConfigMap kube-dns as its keys are mounted: `stubDomains`, a JSON object of domains and their servers, and
// `upstreamNameservers`, a JSON list of at most three. They add zones to the configuration and replace the upstreams of
// those that are there, as NodeLocal DNSCache does; answered over UDP.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/config/file.h"

namespace lastlight {

struct KubeDns {
  std::vector<std::pair<std::string, std::vector<AddressSpec>>> stub_domains;
  std::vector<AddressSpec> upstream_nameservers;
};

// Absent and empty texts say nothing. The error begins with the key that is wrong.
std::expected<KubeDns, std::string> parse_kube_dns(std::optional<std::string_view> stub_domains,
                                                   std::optional<std::string_view> upstream_nameservers);
void add_to(DnsConfig& dns, const KubeDns& kube_dns);

// The configuration with what stands in its dns.kube-dns-config, or everything that is wrong with that.
ConfigResult with_kube_dns(Config config);

}  // namespace lastlight
