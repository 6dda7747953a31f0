#include "agent/cli/inspect.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <vector>

#include "dnscache/takeover/iptables_rules.h"
#include "dnscache/takeover/link.h"
#include "dnscache/takeover/nftables.h"
#include "dnscache/takeover/ruleset.h"

namespace lastlight::cli {

namespace {

constexpr std::size_t kMaxChains = 128;
constexpr JsonLimits kLimits{.bytes = 32U << 20, .depth = 64};

// Each in a table that one transaction makes and removes: the kernel checks it whole, and nothing is ever in force.
struct Feature {
  const char* name;
  const char* chain;
  const char* rule;
};
constexpr std::array<Feature, 5> kFeatures = {{
    {"socket", "type filter hook prerouting priority raw", "udp dport 53 socket wildcard 0 notrack accept"},
    {"socket-tcp", "type filter hook prerouting priority raw", "tcp dport 53 socket transparent 0 notrack accept"},
    {"set-timeouts", "type filter hook output priority raw",
     "ip saddr 192.0.2.1 udp dport 9 update @live { ip saddr timeout 1500ms } drop"},
    {"route-chains", "type route hook output priority raw + 10",
     "ip daddr 192.0.2.1 udp dport 53 ip daddr set 192.0.2.2"},
    {"masquerade", "type nat hook postrouting priority srcnat", "ip saddr 192.0.2.1 ct status dnat masquerade"},
}};

bool works(const Feature& feature) {
  const std::string table = "inet lastlight-try";
  return dns::run_nftables("add table " + table + "\nadd set " + table +
                           " live { type ipv4_addr; size 16; flags dynamic,timeout; }\nadd chain " + table + " c { " +
                           feature.chain + "; }\nadd rule " + table + " c " + feature.rule + "\ndelete table " + table +
                           "\n")
      .has_value();
}

// What nft takes for a name without quotes. Others are not ours to look into.
bool is_plain(const std::string& name) {
  return !name.empty() && std::isalpha(static_cast<unsigned char>(name.front())) != 0 &&
         std::ranges::all_of(name, [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' || c == '/';
         });
}

std::expected<Json, std::string> list(const std::string& command) {
  const auto text = dns::list_nftables(command);
  if (!text) return std::unexpected(text.error());
  return parse_json(*text, kLimits);
}

struct Name {
  std::string family, table, chain;
  auto operator<=>(const Name&) const = default;
};

void add_targets(const Json& of, const Name& in, std::vector<Name>& out) {
  if (of.is_object()) {
    for (const char* verdict : {"jump", "goto"}) {
      const std::string target = string_at(of, verdict, "target");
      // kube-proxy's own chains reject Services without endpoints, and drop none of our queries.
      if (!target.empty() && !target.starts_with("KUBE-")) out.push_back({in.family, in.table, target});
    }
  }
  if (!of.is_structured()) return;
  for (const Json& each : of)
    add_targets(each, in, out);
}

Json read_chain(const Name& name, std::vector<Name>& targets) {
  Json rules = Json::array();
  const auto listed = list("list chain " + name.family + " " + name.table + " " + name.chain);
  if (!listed) return rules;
  for (const Json& entry : array_at(*listed, "nftables")) {
    const Json* rule = find(entry, "rule");
    const Json* expressions = rule != nullptr ? find(*rule, "expr") : nullptr;
    if (expressions == nullptr) continue;
    add_targets(*expressions, name, targets);
    rules.push_back({{"comment", string_at(*rule, "comment")}, {"expr", *expressions}});
  }
  return rules;
}

bool is_asked_for(const Json& chain) {
  const std::string hook = string_at(chain, "hook"), family = string_at(chain, "family"),
                    table = string_at(chain, "table");
  if (hook != "prerouting" && hook != "input" && hook != "output") return false;
  if (string_at(chain, "type") == "nat" || table == "kube-proxy") return false;
  return (family == "ip" || family == "ip6" || family == "inet") && !(family == "inet" && table == dns::kTakeoverTable);
}

// The base chains, then what they jump to.
Json chains(const Json& listed) {
  Json out = Json::array();
  std::vector<Name> open;
  std::set<Name> seen;
  const auto add = [&](const Name& name, Json chain) {
    if (!is_plain(name.table) || !is_plain(name.chain) || out.size() >= kMaxChains || !seen.insert(name).second) return;
    chain["rules"] = read_chain(name, open);
    out.push_back(std::move(chain));
  };
  for (const Json& entry : array_at(listed, "nftables")) {
    const Json* chain = find(entry, "chain");
    if (chain == nullptr || !is_asked_for(*chain)) continue;
    add({string_at(*chain, "family"), string_at(*chain, "table"), string_at(*chain, "name")}, *chain);
  }
  while (!open.empty()) {
    const Name name = open.back();
    open.pop_back();
    add(name, {{"family", name.family}, {"table", name.table}, {"name", name.chain}});
  }
  return out;
}

Json tables(const Json& listed) {
  Json out = Json::array();
  for (const Json& entry : array_at(listed, "nftables")) {
    if (const Json* table = find(entry, "table"))
      out.push_back({{"family", string_at(*table, "family")}, {"name", string_at(*table, "name")}});
  }
  return out;
}

}  // namespace

Json inspect() {
  Json out = {{"error", ""}, {"legacy", dns::legacy_tables()}};
  const auto all = list("list tables");
  const auto listed = all ? list("list chains") : all;
  if (!listed) {
    out["error"] = listed.error();
    return out;
  }
  out["tables"] = tables(*all);
  out["chains"] = chains(*listed);
  Json features = {{"dummy", dns::has_dummy_links()}};
  for (const Feature& feature : kFeatures)
    features[feature.name] = works(feature);
  out["features"] = std::move(features);
  Json node_local = Json::array();
  if (const auto rules = dns::commented_rules(dns::kNodeLocalComment)) {
    for (const dns::CommentedRule& rule : *rules)
      node_local.push_back(
          {{"family", rule.family}, {"table", rule.table}, {"chain", rule.chain}, {"comment", rule.comment}});
  }
  out["nodeLocal"] = std::move(node_local);
  return out;
}

}  // namespace lastlight::cli
