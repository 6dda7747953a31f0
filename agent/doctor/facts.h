// What `lastlight doctor` looked at, as plain values, and how they are read from the documents that others wrote: the
// privileged child's (agent/cli/inspect.h) and the running agent's (agent/control/takeover_route.h). No I/O, no
// judgement.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/json.h"

namespace lastlight::doctor {

struct Chain {
  struct Rule {
    std::string comment;
    Json expressions;  // as libnftables has them
  };
  std::string family;  // ip, ip6, inet
  std::string table;
  std::string name;
  std::string hook;    // prerouting, input, output; empty: only jumped to
  bool drops = false;  // by its policy
  std::vector<Rule> rules;
};

struct PacketFilter {
  std::string error;                                        // why it could not be read; empty: it was
  std::vector<std::pair<std::string, std::string>> tables;  // family, name
  std::vector<Chain> chains;
  std::map<std::string, bool> features;  // what this kernel can do
  std::size_t node_local_rules = 0;
  std::vector<std::string> legacy;  // tables of the legacy iptables that are in use

  bool has_table(const std::string& family, const std::string& name) const;
};

// The running agent's own word.
struct Agent {
  std::string error;  // why nothing is known; empty: it answered
  std::string node, mode, state, interface, cluster_domain;
  std::uint16_t port = 53;
  std::vector<IpAddress> addresses;  // taken over, or listened on in mode none
};

struct Interface {
  std::string name;
  bool up = false;
  std::vector<IpAddress> addresses;
};

struct KubeProxy {
  std::string mode;    // iptables, nftables, ipvs; empty: none was found
  std::string source;  // how that is known
};

// One question, put from one place to one address.
struct Proof {
  enum class Way {
    AsEveryone,  // by the lease while it holds
    Exempt,      // past the lease, as everybody's would go without it
  };
  enum class Result {
    Ours,       // the agent saw it
    Others,     // answered, and not by the agent
    Silent,     // not answered
    Impossible  // could not be asked: `text` says why
  };
  std::string from;
  bool from_pod = false;
  Endpoint at;
  bool tcp = false;
  Way way = Way::AsEveryone;
  Result result = Result::Silent;
  bool failed = false;  // answered, but not with what an upstream knows
  std::string text;
};

struct Facts {
  bool in_pod = false;  // else on the node itself
  Agent agent;
  KubeProxy kube_proxy;
  std::vector<Interface> interfaces;
  PacketFilter filter;
  std::vector<Proof> proofs;
  std::optional<Json> network_policies;  // a list, as `kubectl get networkpolicies -A -o json` prints it
};

PacketFilter read_packet_filter(const Json& json);
Agent read_agent(const Json& json);

}  // namespace lastlight::doctor
