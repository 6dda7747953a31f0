#include "agent/doctor/facts.h"

#include <algorithm>

namespace lastlight::doctor {

bool PacketFilter::has_table(const std::string& family, const std::string& name) const {
  return std::ranges::find(tables, std::pair(family, name)) != tables.end();
}

PacketFilter read_packet_filter(const Json& json) {
  PacketFilter out;
  out.error = string_at(json, "error");
  for (const Json& table : array_at(json, "tables"))
    out.tables.emplace_back(string_at(table, "family"), string_at(table, "name"));
  for (const Json& each : array_at(json, "chains")) {
    Chain chain{.family = string_at(each, "family"),
                .table = string_at(each, "table"),
                .name = string_at(each, "name"),
                .hook = string_at(each, "hook"),
                .drops = string_at(each, "policy") == "drop",
                .rules = {}};
    for (const Json& rule : array_at(each, "rules")) {
      const Json* expressions = find(rule, "expr");
      chain.rules.push_back({string_at(rule, "comment"), expressions != nullptr ? *expressions : Json::array()});
    }
    out.chains.push_back(std::move(chain));
  }
  for (const auto& [name, works] : object_at(json, "features"))
    out.features[name] = is_true(&works);
  out.node_local_rules = array_at(json, "nodeLocal").size();
  for (const Json& name : array_at(json, "legacy"))
    out.legacy.push_back(string_or_empty(&name));
  return out;
}

Agent read_agent(const Json& json) {
  Agent out{.error = {},
            .node = string_at(json, "node"),
            .mode = string_at(json, "mode"),
            .state = string_at(json, "state"),
            .interface = string_at(json, "interface"),
            .cluster_domain = string_at(json, "clusterDomain"),
            .addresses = {}};
  if (const auto port = int_at(json, "port"); port && *port > 0 && *port < 65536)
    out.port = static_cast<std::uint16_t>(*port);
  for (const Json& each : array_at(json, "addresses")) {
    if (const auto address = IpAddress::parse(string_or_empty(&each))) out.addresses.push_back(*address);
  }
  if (out.mode.empty()) out.error = "the agent says nothing of its takeover: it is of another version";
  return out;
}

}  // namespace lastlight::doctor
