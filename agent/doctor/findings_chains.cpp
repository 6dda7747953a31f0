// Host chains: which of them drop what comes from pods to us, or what we answer, and the rule that lets it through.
#include <algorithm>
#include <cctype>
#include <string>

#include "agent/doctor/findings.h"
#include "agent/doctor/packet.h"

namespace lastlight::doctor {

namespace {

// iptables' own chains are written in capitals.
bool is_iptables(const Chain& chain) {
  return chain.family != "inet" &&
         std::ranges::all_of(chain.name, [](char c) { return std::islower(static_cast<unsigned char>(c)) == 0; });
}

std::string rule_for(const Chain& chain, const Packet& packet) {
  const bool v6 = packet.ours.is_v6();
  const std::string protocol = packet.tcp ? "tcp" : "udp", port = std::to_string(packet.port);
  if (is_iptables(chain)) {
    return std::string(v6 ? "ip6tables" : "iptables") + (chain.table == "filter" ? "" : " -t " + chain.table) + " -I " +
           chain.name + (packet.query ? " -d " : " -s ") + packet.ours.to_string() + " -p " + protocol +
           (packet.query ? " --dport " : " --sport ") + port + " -j ACCEPT";
  }
  return "nft insert rule " + chain.family + " " + chain.table + " " + chain.name + (v6 ? " ip6 " : " ip ") +
         (packet.query ? "daddr " : "saddr ") + packet.ours.to_string() + " " + protocol +
         (packet.query ? " dport " : " sport ") + port + " accept";
}

// What the proofs from pods say of this address and protocol.
std::optional<Proof::Result> proven(const Facts& facts, const Packet& packet) {
  for (const Proof& proof : facts.proofs) {
    const bool about = proof.from_pod && proof.way == Proof::Way::AsEveryone && proof.tcp == packet.tcp &&
                       proof.at.address == packet.ours;
    if (about && proof.result != Proof::Result::Impossible) return proof.result;
  }
  return std::nullopt;
}

// What one chain does to all that is ours.
struct Judged {
  std::string dropped;  // "10.96.0.10 over UDP, ..."; empty: nothing
  std::string rules;    // that let it through, a line each
  bool certain = false;
};

void judge(const Facts& facts, const Chain& chain, const Packet& packet, Judged& out) {
  const Fate fate = fate_in(chain, facts.filter.chains, packet);
  const auto proof = proven(facts, packet);
  const bool arrived = proof && *proof != Proof::Result::Silent;
  // A perhaps counts where the chain's own policy drops, or a query was in fact lost.
  if (fate == Fate::Passes || arrived || (fate == Fate::Perhaps && !chain.drops && !proof)) return;
  out.certain |= fate == Fate::Drops || proof;
  out.dropped += (out.dropped.empty() ? "" : ", ") + packet.ours.to_string() + (packet.tcp ? " over TCP" : " over UDP");
  out.rules += (out.rules.empty() ? "" : "\n") + rule_for(chain, packet);
}

Finding finding_of(const Chain& chain, const Judged& judged) {
  return {judged.certain ? Severity::Problem : Severity::Note,
          "the chain " + chain.name + " of the table " + chain.family + " " + chain.table +
              (judged.certain ? " drops " : " may drop ") + (chain.hook == "output" ? "answers from " : "queries to ") +
              judged.dropped +
              "; they are not tracked, so that a rule for established connections does not let them through",
          judged.rules};
}

}  // namespace

std::vector<Finding> chain_findings(const Facts& facts) {
  std::vector<Finding> out;
  for (const Chain& chain : facts.filter.chains) {
    if (chain.hook.empty()) continue;
    Judged judged;
    for (const IpAddress& address : facts.agent.addresses) {
      for (const bool tcp : {false, true}) {
        judge(facts, chain, {.tcp = tcp, .query = chain.hook != "output", .ours = address, .port = facts.agent.port},
              judged);
      }
    }
    if (!judged.dropped.empty()) out.push_back(finding_of(chain, judged));
  }
  return out;
}

}  // namespace lastlight::doctor
