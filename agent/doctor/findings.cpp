#include "agent/doctor/findings.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace lastlight::doctor {

namespace {

using Found = std::vector<Finding>;

std::string listed(const std::vector<IpAddress>& addresses) {
  std::string out;
  for (const IpAddress& each : addresses)
    out += (out.empty() ? "" : ", ") + each.to_string();
  return out;
}

bool takes_over(const Facts& facts) {
  return facts.agent.mode == "intercept" || facts.agent.mode == "link-local";
}

void agent_findings(const Facts& facts, Found& out) {
  const Agent& agent = facts.agent;
  if (!agent.error.empty()) {
    out.push_back({Severity::Problem, "no agent tells of itself: " + agent.error,
                   "look at its pod on this node; without it kube-proxy, or the fallback, has the node's DNS"});
    return;
  }
  const std::string where = listed(agent.addresses) + ", port " + std::to_string(agent.port);
  if (agent.mode == "none") {
    out.push_back({Severity::Fine,
                   "the agent listens on " + where +
                       "; takeover.mode is none, so nothing of the node "
                       "is changed, and queries come here when clients are told to",
                   ""});
  } else if (agent.state == "held") {
    out.push_back({Severity::Fine, "the agent holds the lease on " + where + " (" + agent.mode + ")", ""});
  } else if (agent.state == "bypassed") {
    out.push_back(
        {Severity::Problem, "the lease on " + where + " is held and bypassed: queries are answered by somebody else",
         "an eBPF dataplane (Cilium, GKE Dataplane V2, OVN) translates Services before our rules: set "
         "takeover.mode: none and lead queries here by its local redirect policy, or by a kube-dns Service of "
         "trafficDistribution: PreferSameNode"});
  } else {
    out.push_back({Severity::Problem,
                   "the agent does not hold the lease on " + where + ": its takeover is " + agent.state,
                   "its log says why (takeover.*, dns.*); meanwhile kube-proxy has the node's DNS"});
  }
}

void kube_proxy_findings(const Facts& facts, Found& out) {
  const KubeProxy& proxy = facts.kube_proxy;
  if (proxy.mode.empty()) {
    out.push_back({Severity::Note, "no kube-proxy was found: Services are somebody else's, an eBPF dataplane's perhaps",
                   takes_over(facts) ? "the proofs below say whether queries arrive" : ""});
    return;
  }
  const bool hopeless = proxy.mode == "ipvs" && facts.agent.mode == "intercept";
  out.push_back({hopeless ? Severity::Problem : Severity::Fine,
                 "kube-proxy runs in mode " + proxy.mode + " (" + proxy.source + ")",
                 hopeless ? "in IPVS mode it holds the ClusterIPs itself, and only a link-local address can be taken "
                            "over: takeover.mode: link-local (manifests/overlays/ipvs), and the kubelet's --cluster-dns"
                          : ""});
}

void address_findings(const Facts& facts, Found& out) {
  if (!takes_over(facts)) return;
  for (const IpAddress& address : facts.agent.addresses) {
    const auto holder = std::ranges::find_if(facts.interfaces, [&](const Interface& each) {
      return std::ranges::find(each.addresses, address) != each.addresses.end();
    });
    if (holder == facts.interfaces.end()) {
      out.push_back({Severity::Problem, address.to_string() + " is on no interface of this node",
                     "the agent puts it back within seconds; if not, it lacks NET_ADMIN (components/intercept)"});
    } else if (holder->name == facts.agent.interface || holder->name == "lo") {
      out.push_back({Severity::Fine, address.to_string() + " is on " + holder->name, ""});
    } else if (holder->name == "kube-ipvs0") {
      out.push_back({Severity::Problem, address.to_string() + " is on kube-ipvs0: kube-proxy's, in IPVS mode",
                     "takeover.mode: link-local (manifests/overlays/ipvs)"});
    } else {
      out.push_back({Severity::Problem,
                     address.to_string() + " is on " + holder->name + ", not on " + facts.agent.interface,
                     "take it away there: ip address del " + address.to_string() + (address.is_v6() ? "/128" : "/32") +
                         " dev " + holder->name});
    }
  }
}

void leftover_findings(const Facts& facts, Found& out) {
  const auto link = std::ranges::find(facts.interfaces, "nodelocaldns", &Interface::name);
  std::string what;
  if (link != facts.interfaces.end()) what = "the link nodelocaldns (" + listed(link->addresses) + ")";
  if (facts.filter.node_local_rules > 0)
    what += (what.empty() ? "" : " and ") + std::to_string(facts.filter.node_local_rules) + " iptables rules";
  if (!what.empty()) {
    out.push_back({Severity::Problem, "NodeLocal DNSCache left " + what + ": queries to its addresses go nowhere",
                   "when its DaemonSet is off this node: lastlight uninstall --node-local"});
  }
  const auto& legacy = facts.filter.legacy;
  if (std::ranges::find(legacy, "raw") != legacy.end() || std::ranges::find(legacy, "filter") != legacy.end()) {
    out.push_back({Severity::Note, "this node uses the legacy iptables too, whose rules are not seen here",
                   "iptables-legacy-save | grep -e 'NodeLocal DNS Cache' -e DROP -e REJECT"});
  }
  const bool ours = facts.filter.has_table("inet", "lastlight");
  if (!facts.agent.error.empty() && ours) {
    out.push_back({Severity::Note,
                   "no agent runs, and the table inet lastlight is there: it leads link-local clients to "
                   "the fallback Service",
                   "to take everything of ours away: lastlight uninstall"});
  }
}

void feature_findings(const Facts& facts, Found& out) {
  struct Need {
    const char* name;
    const char* what;
    const char* without;
  };
  constexpr std::array<Need, 6> kNeeds = {{
      {"socket", "the socket expression of nftables",
       "the lease cannot see whether an agent lives: CONFIG_NFT_SOCKET, Linux 5.12"},
      {"socket-tcp", "the socket expression for TCP", "CONFIG_NFT_SOCKET"},
      {"set-timeouts", "sets whose elements time out", "there can be no lease: CONFIG_NF_TABLES, Linux 4.10"},
      {"route-chains", "chains of type route", "link-local addresses have no fallback"},
      {"masquerade", "masquerading", "clients on the node itself lose DNS while the agent is away: CONFIG_NFT_MASQ"},
      {"dummy", "dummy links", ""},
  }};
  std::string fine;
  for (const Need& need : kNeeds) {
    const auto known = facts.filter.features.find(need.name);
    if (known == facts.filter.features.end()) continue;
    if (known->second) {
      fine += (fine.empty() ? "" : ", ") + std::string(need.what);
    } else if (*need.without == '\0') {
      out.push_back({Severity::Note, "this kernel has no dummy links: addresses are put on lo instead", ""});
    } else {
      out.push_back({takes_over(facts) ? Severity::Problem : Severity::Note,
                     std::string("this kernel lacks ") + need.what + ": " + need.without,
                     "load the module, or takeover.mode: none"});
    }
  }
  if (!fine.empty()) out.push_back({Severity::Fine, "the kernel has " + fine, ""});
}

std::string question(const Proof& proof) {
  return std::string("a ") + (proof.tcp ? "TCP" : "UDP") + " query from " + proof.from + " to " + proof.at.to_string();
}

Finding past_the_lease(const Proof& proof, const std::string& what, const std::string& more) {
  if (proof.result == Proof::Result::Others)
    return {Severity::Fine, what + " past the lease is answered without the agent" + more, ""};
  if (proof.result == Proof::Result::Ours) {
    return {Severity::Problem, what + " past the lease still comes to the agent",
            "nothing else answers at this address: has the Service endpoints elsewhere?"};
  }
  return {
      Severity::Problem, what + " past the lease is not answered: without the agent this node has no DNS",
      "has the Service ready endpoints, and does kube-proxy run? kubectl get endpointslices -A -l k8s-app=kube-dns"};
}

Finding by_everyones_way(const Proof& proof, const std::string& what, const std::string& more, bool held) {
  if (proof.result == Proof::Result::Ours && proof.failed) {
    return {Severity::Problem, what + " comes to the agent, which has no answer" + more,
            "its upstream for the cluster's names does not answer: kubectl get pods -A -l k8s-app=kube-dns, and "
            "`lastlight_upstream_healthy` of /metrics"};
  }
  if (proof.result == Proof::Result::Ours) return {Severity::Fine, what + " comes to the agent" + more, ""};
  if (proof.result == Proof::Result::Others) {
    return {held ? Severity::Problem : Severity::Note, what + " is answered by somebody else" + more,
            held ? "an eBPF dataplane may translate Services before our rules (or the zone's cache is off, which this "
                   "proof needs)"
                 : ""};
  }
  return {Severity::Problem, what + " is not answered" + more,
          "a chain below may drop it; else a NetworkPolicy (kubectl get networkpolicies -A -o json | lastlight doctor "
          "--network-policies -)"};
}

Finding finding_of(const Proof& proof, bool held) {
  const std::string what = question(proof);
  const std::string more = proof.text.empty() ? "" : " (" + proof.text + ")";
  if (proof.result == Proof::Result::Impossible) return {Severity::Note, what + " could not be asked" + more, ""};
  return proof.way == Proof::Way::Exempt ? past_the_lease(proof, what, more)
                                         : by_everyones_way(proof, what, more, held);
}

void proof_findings(const Facts& facts, Found& out) {
  const bool held = facts.agent.state == "held" || facts.agent.mode == "none";
  for (const Proof& proof : facts.proofs)
    out.push_back(finding_of(proof, held));
}

// A pod sees no other pod's network: somebody has to ask from one.
void rest_findings(const Facts& facts, Found& out) {
  const bool from_pod = std::ranges::any_of(facts.proofs, &Proof::from_pod);
  if (from_pod || facts.agent.addresses.empty()) return;
  const std::string node = facts.agent.node.empty() ? "NODE" : facts.agent.node;
  const std::string name = "lastlight-doctor." + facts.agent.cluster_domain;
  out.push_back({Severity::Note,
                 "no question was put from a pod's network: what follows does, and finds it in the agent's cache",
                 "kubectl run lastlight-doctor --rm -i --restart=Never --image=busybox:1.36 "
                 "--overrides='{\"spec\":{\"nodeName\":\"" +
                     node + "\",\"tolerations\":[{\"operator\":\"Exists\"}]}}' -- nslookup " + name + ". " +
                     facts.agent.addresses.front().to_string() +
                     "\nkubectl -n kube-system exec $(kubectl -n kube-system get pods -o name -l "
                     "app.kubernetes.io/name=lastlight "
                     "--field-selector spec.nodeName=" +
                     node + ") -- lastlight cache get " + name});
}

}  // namespace

std::vector<Finding> findings(const Facts& facts) {
  Found out;
  agent_findings(facts, out);
  kube_proxy_findings(facts, out);
  address_findings(facts, out);
  if (facts.filter.error.empty()) {
    feature_findings(facts, out);
  } else {
    out.push_back({Severity::Note, "the packet filter cannot be looked at: " + facts.filter.error,
                   "as root on the node, or in a pod with NET_ADMIN (components/intercept)"});
  }
  leftover_findings(facts, out);
  proof_findings(facts, out);
  rest_findings(facts, out);
  std::ranges::move(chain_findings(facts), std::back_inserter(out));
  if (facts.network_policies)
    std::ranges::move(policy_findings(*facts.network_policies, facts.agent.addresses, facts.agent.port),
                      std::back_inserter(out));
  return out;
}

bool any_problem(const std::vector<Finding>& found) {
  return std::ranges::any_of(found, [](const Finding& each) { return each.severity == Severity::Problem; });
}

const char* name(Severity severity) {
  return severity == Severity::Fine ? "fine" : severity == Severity::Note ? "note" : "problem";
}

}  // namespace lastlight::doctor
