// NetworkPolicies, by what they say; how a CNI carries them out for an address of the node is its own affair.
#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "agent/doctor/findings.h"
#include "agent/doctor/packet.h"

namespace lastlight::doctor {

namespace {

bool restricts_egress(const Json& policy) {
  const auto& types = array_at(policy, "spec", "policyTypes");
  if (types.empty()) return find(policy, "spec", "egress") != nullptr;
  return std::ranges::any_of(types, [](const Json& type) { return string_or_empty(&type) == "Egress"; });
}

bool allows_port(const Json& rule, const char* protocol, std::uint16_t port) {
  const auto& ports = array_at(rule, "ports");
  return ports.empty() || std::ranges::any_of(ports, [&](const Json& each) {
           const std::string given = string_at(each, "protocol");
           if ((given.empty() ? "TCP" : given) != protocol) return false;
           const auto number = int_at(each, "port");
           if (!number) return find(each, "port") == nullptr;  // a name is a pod's, and we are none
           return *number <= port && port <= int_at(each, "endPort").value_or(*number);
         });
}

bool in_block(const IpAddress& address, const std::string& cidr) {
  const std::size_t slash = cidr.find('/');
  const auto network = IpAddress::parse(cidr.substr(0, slash));
  int length = 0;
  if (!network || slash == std::string::npos) return false;
  std::from_chars(cidr.data() + slash + 1, cidr.data() + cidr.size(), length);
  return in_prefix(address, *network, length);
}

bool allows_address(const Json& rule, const IpAddress& address) {
  const auto& to = array_at(rule, "to");
  return to.empty() || std::ranges::any_of(to, [&](const Json& peer) {
           if (!in_block(address, string_at(peer, "ipBlock", "cidr"))) return false;
           return std::ranges::none_of(array_at(peer, "ipBlock", "except"),
                                       [&](const Json& except) { return in_block(address, string_or_empty(&except)); });
         });
}

bool allows(const Json& policy, const IpAddress& address, std::uint16_t port) {
  const auto& rules = array_at(policy, "spec", "egress");
  return std::ranges::all_of(std::array{"UDP", "TCP"}, [&](const char* protocol) {
    return std::ranges::any_of(
        rules, [&](const Json& rule) { return allows_port(rule, protocol, port) && allows_address(rule, address); });
  });
}

// What policies allow adds up: one for every pod of the namespace is enough.
bool allowed_to_all(const Json& list, const std::string& space, const IpAddress& address, std::uint16_t port) {
  return std::ranges::any_of(array_at(list, "items"), [&](const Json& policy) {
    return string_at(policy, "metadata", "namespace") == space && restricts_egress(policy) &&
           object_at(policy, "spec", "podSelector").empty() && allows(policy, address, port);
  });
}

// Those that neither this policy nor one for every pod beside it lets through.
std::vector<IpAddress> kept_from(const Json& list, const Json& policy, const std::vector<IpAddress>& addresses,
                                 std::uint16_t port) {
  std::vector<IpAddress> out = addresses;
  std::erase_if(out, [&](const IpAddress& address) {
    return allows(policy, address, port) ||
           allowed_to_all(list, string_at(policy, "metadata", "namespace"), address, port);
  });
  return out;
}

Finding finding_of(const Json& policy, const std::vector<IpAddress>& missing, const std::string& port) {
  std::string names, blocks;
  for (const IpAddress& each : missing) {
    names.append(names.empty() ? "" : ", ").append(each.to_string());
    blocks.append(blocks.empty() ? "" : ", ").append("{ipBlock: {cidr: ").append(each.to_string());
    blocks.append(each.is_v6() ? "/128}}" : "/32}}");
  }
  return {Severity::Problem,
          "the NetworkPolicy " + string_at(policy, "metadata", "namespace") + "/" +
              string_at(policy, "metadata", "name") + " lets no DNS query to " + names +
              " through (the node answers there, and no pod selector means the node), nor does another for every pod "
              "there",
          "add to its spec.egress: - {ports: [{port: " + port + ", protocol: UDP}, {port: " + port +
              ", protocol: TCP}], to: [" + blocks + "]} (manifests/examples/network-policies.yaml)"};
}

}  // namespace

std::vector<Finding> policy_findings(const Json& list, const std::vector<IpAddress>& addresses, std::uint16_t port) {
  std::vector<Finding> out;
  std::size_t seen = 0;
  for (const Json& policy : array_at(list, "items")) {
    if (!restricts_egress(policy)) continue;
    ++seen;
    const auto missing = kept_from(list, policy, addresses, port);
    if (!missing.empty()) out.push_back(finding_of(policy, missing, std::to_string(port)));
  }
  if (out.empty())
    out.push_back({Severity::Fine, std::to_string(seen) + " NetworkPolicies for egress, and all let DNS through", ""});
  return out;
}

}  // namespace lastlight::doctor
