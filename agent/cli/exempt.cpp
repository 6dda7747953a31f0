#include "agent/cli/exempt.h"

#include <map>

#include "agent/base/address.h"
#include "agent/base/json.h"
#include "dnscache/takeover/nftables.h"
#include "dnscache/takeover/ruleset.h"

namespace lastlight::cli {

namespace {

constexpr const char* kComment = "lastlight doctor";
constexpr const char* kChains[] = {"prerouting", "output", "reroute"};

std::string in(const std::string& chain) {
  return std::string("inet ") + dns::kTakeoverTable + " " + chain;
}

std::expected<Json, std::string> rules_of(const std::string& chain) {
  const auto listed = dns::list_nftables("list chain " + in(chain));
  if (!listed) return std::unexpected(listed.error());
  return parse_json(*listed);
}

std::expected<void, std::string> end_all() {
  std::string commands;
  for (const char* chain : kChains) {
    const auto json = rules_of(chain);
    if (!json) return std::unexpected(json.error());
    for (const Json& entry : array_at(*json, "nftables")) {
      const auto handle = int_at(entry, "rule", "handle");
      if (string_at(entry, "rule", "comment") == kComment && handle)
        commands += "delete rule " + in(chain) + " handle " + std::to_string(*handle) + "\n";
    }
  }
  return commands.empty() ? std::expected<void, std::string>{} : dns::run_nftables(commands);
}

// Link-local address -> its fallback, as our own rules have them: what a query without a lease becomes.
std::map<IpAddress, IpAddress> fallbacks(const Json& prerouting) {
  std::map<IpAddress, IpAddress> out;
  for (const Json& entry : array_at(prerouting, "nftables")) {
    std::optional<IpAddress> address, fallback;
    for (const Json& part : array_at(entry, "rule", "expr")) {
      if (string_at(part, "match", "left", "payload", "field") == "daddr")
        address = IpAddress::parse(string_at(part, "match", "right"));
      if (string_at(part, "mangle", "key", "payload", "field") == "daddr")
        fallback = IpAddress::parse(string_at(part, "mangle", "value"));
    }
    if (address && fallback) out[*address] = *fallback;
  }
  return out;
}

std::string insertion(const std::string& chain, const std::string& rule) {
  return "insert rule " + in(chain) + " " + rule + " accept comment \"" + kComment + "\"\n";
}

std::string rules_for(const Endpoint& client, const std::string& protocol, const std::map<IpAddress, IpAddress>& ways) {
  const std::string ip = client.address.is_v6() ? "ip6" : "ip";
  const std::string socket =
      ip + " saddr " + client.address.to_string() + " " + protocol + " sport " + std::to_string(client.port);
  std::string out = insertion("prerouting", socket) + insertion("output", socket);
  // In front of those: `insert` puts each at the top.
  for (const auto& [address, fallback] : ways) {
    if (address.is_v6() != client.address.is_v6()) continue;
    std::string rewritten = socket;
    rewritten.append(" ").append(ip).append(" daddr ").append(address.to_string());
    rewritten.append(" ").append(ip).append(" daddr set ").append(fallback.to_string());
    out.append(insertion("prerouting", rewritten)).append(insertion("reroute", rewritten));
  }
  return out;
}

}  // namespace

std::expected<void, std::string> exempt(std::span<const std::string> words) {
  if (words.empty()) return end_all();
  const auto client = words.size() == 2 ? IpAddress::parse(words[0]) : std::nullopt;
  const auto endpoint =
      client ? Endpoint::parse((client->is_v6() ? "[" + words[0] + "]" : words[0]) + ":" + words[1], 0) : std::nullopt;
  if (!endpoint || endpoint->port == 0) return std::unexpected("exempt takes an IP address and a port");
  const auto prerouting = rules_of("prerouting");
  if (!prerouting) return std::unexpected(prerouting.error());
  const auto ways = fallbacks(*prerouting);
  return dns::run_nftables(rules_for(*endpoint, "udp", ways) + rules_for(*endpoint, "tcp", ways));
}

}  // namespace lastlight::cli
