#include "agent/doctor/findings.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::doctor;

namespace {

IpAddress ip(const char* text) {
  return *IpAddress::parse(text);
}

Facts healthy() {
  Facts facts;
  facts.agent = {.error = {},
                 .node = "n1",
                 .mode = "intercept",
                 .state = "held",
                 .interface = "lastlight",
                 .cluster_domain = "cluster.local",
                 .addresses = {ip("10.96.0.10")}};
  facts.kube_proxy = {"nftables", "it says so"};
  facts.interfaces = {{"lo", true, {ip("127.0.0.1")}}, {"lastlight", true, {ip("10.96.0.10")}}};
  for (const char* name : {"socket", "socket-tcp", "set-timeouts", "route-chains", "masquerade", "dummy"})
    facts.filter.features[name] = true;
  for (const auto way : {Proof::Way::AsEveryone, Proof::Way::Exempt}) {
    facts.proofs.push_back({.from = "a pod",
                            .from_pod = true,
                            .at = {ip("10.96.0.10"), 53},
                            .way = way,
                            .result = way == Proof::Way::Exempt ? Proof::Result::Others : Proof::Result::Ours,
                            .text = "NXDOMAIN"});
  }
  return facts;
}

// The one problem that there is.
Finding problem(const Facts& facts) {
  std::vector<Finding> problems;
  for (const Finding& each : findings(facts)) {
    if (each.severity == Severity::Problem) problems.push_back(each);
  }
  REQUIRE(problems.size() == 1);
  CHECK_FALSE(problems.front().to_do.empty());
  return problems.front();
}

bool says(const std::vector<Finding>& found, Severity severity, const std::string& what) {
  for (const Finding& each : found) {
    if (each.severity == severity && (each.what + " -> " + each.to_do).find(what) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a healthy node has no problem") {
  const auto found = findings(healthy());
  CHECK_FALSE(any_problem(found));
  for (const char* what :
       {"holds the lease on 10.96.0.10", "kube-proxy runs in mode nftables", "10.96.0.10 is on lastlight",
        "comes to the agent (NXDOMAIN)", "past the lease is answered without the agent"})
    CHECK(says(found, Severity::Fine, what));
}

TEST_CASE("each thing that is wrong is one problem, with what to do") {
  Facts facts = healthy();
  SECTION("bypassed") {
    facts.agent.state = "bypassed";
    CHECK(problem(facts).to_do.find("takeover.mode: none") != std::string::npos);
  }
  SECTION("IPVS") {
    facts.kube_proxy.mode = "ipvs";
    CHECK(problem(facts).to_do.find("takeover.mode: link-local") != std::string::npos);
  }
  SECTION("the address is elsewhere") {
    facts.interfaces[1].name = "eth7";
    CHECK(problem(facts).to_do == "take it away there: ip address del 10.96.0.10/32 dev eth7");
  }
  SECTION("the address is nowhere") {
    facts.interfaces.pop_back();
    CHECK(problem(facts).what == "10.96.0.10 is on no interface of this node");
  }
  SECTION("NodeLocal's leftovers") {
    facts.interfaces.push_back({"nodelocaldns", false, {ip("169.254.20.10")}});
    facts.filter.node_local_rules = 12;
    const Finding found = problem(facts);
    CHECK(
        found.what.starts_with("NodeLocal DNSCache left the link nodelocaldns (169.254.20.10) and 12 iptables rules"));
    CHECK(found.to_do.find("lastlight uninstall --node-local") != std::string::npos);
  }
  SECTION("the kernel") {
    facts.filter.features["socket"] = false;
    CHECK(problem(facts).what.find("CONFIG_NFT_SOCKET") != std::string::npos);
  }
  SECTION("somebody else answers") {
    facts.proofs[0].result = Proof::Result::Others;
    CHECK(problem(facts).what.find("is answered by somebody else") != std::string::npos);
  }
  SECTION("the upstream is dead") {
    facts.proofs[0].failed = true;
    CHECK(problem(facts).what.find("comes to the agent, which has no answer") != std::string::npos);
  }
  SECTION("nothing behind the lease") {
    facts.proofs[1].result = Proof::Result::Silent;
    CHECK(problem(facts).what.find("without the agent this node has no DNS") != std::string::npos);
  }
  SECTION("no agent") {
    facts.agent = {};
    facts.agent.error = "connection refused";
    facts.proofs.clear();
    CHECK(problem(facts).what.find("connection refused") != std::string::npos);
  }
}

TEST_CASE("a chain that drops is named with the rule to add, unless a pod's query got through") {
  Facts facts = healthy();
  facts.filter.chains = {
      {.family = "ip", .table = "filter", .name = "INPUT", .hook = "input", .drops = true, .rules = {}},
      {.family = "inet", .table = "host", .name = "in", .hook = "input", .drops = true, .rules = {}}};
  facts.proofs[0].result = Proof::Result::Silent;
  auto found = chain_findings(facts);
  REQUIRE(found.size() == 2);
  CHECK(found[0].what.starts_with("the chain INPUT of the table ip filter drops queries to 10.96.0.10 over UDP"));
  CHECK(found[0].to_do.starts_with("iptables -I INPUT -d 10.96.0.10 -p udp --dport 53 -j ACCEPT\n"));
  CHECK(found[1].to_do.starts_with("nft insert rule inet host in ip daddr 10.96.0.10 udp dport 53 accept\n"));
  // TCP was not proven; UDP was.
  facts.proofs[0].result = Proof::Result::Ours;
  found = chain_findings(facts);
  CHECK(found[0].what.find("UDP") == std::string::npos);
  facts.filter.chains = {
      {.family = "inet", .table = "host", .name = "out", .hook = "output", .drops = true, .rules = {}}};
  facts.proofs.clear();
  CHECK(chain_findings(facts)[0].to_do.starts_with(
      "nft insert rule inet host out ip saddr 10.96.0.10 udp sport 53 accept\n"));
}

TEST_CASE("without a pod's network the rest is a line to type") {
  Facts facts = healthy();
  facts.proofs[0].from_pod = facts.proofs[1].from_pod = false;
  CHECK(says(findings(facts), Severity::Note, "kubectl run lastlight-doctor"));
  CHECK_FALSE(says(findings(healthy()), Severity::Note, "kubectl run"));
}

TEST_CASE("NetworkPolicies that keep pods from the node's DNS") {
  const auto list = [](const std::string& egress, const std::string& more = "") {
    return *parse_json(
        R"({"items":[{"metadata":{"namespace":"shop","name":"web"},"spec":{"podSelector":{"matchLabels":{"a":"b"}},
      "policyTypes":["Egress"],"egress":[)" +
        egress + "]}}" + more + "]}");
  };
  const auto found = [&](const Json& given) { return policy_findings(given, {ip("10.96.0.10")}, 53); };
  const std::string ports = R"("ports":[{"port":53,"protocol":"UDP"},{"port":53,"protocol":"TCP"}])";
  CHECK_FALSE(any_problem(found(*parse_json(R"({"items":[]})"))));
  CHECK_FALSE(any_problem(found(list("{}"))));
  CHECK_FALSE(any_problem(found(list("{" + ports + "}"))));
  CHECK_FALSE(any_problem(found(list("{" + ports + R"(,"to":[{"ipBlock":{"cidr":"10.96.0.0/16"}}]})"))));
  // The usual one, which means CoreDNS's pods.
  const auto usual = found(
      list("{" + ports + R"(,"to":[{"namespaceSelector":{},"podSelector":{"matchLabels":{"k8s-app":"kube-dns"}}}]})"));
  REQUIRE(any_problem(usual));
  CHECK(usual[0].what.starts_with("the NetworkPolicy shop/web lets no DNS query to 10.96.0.10 through"));
  CHECK(usual[0].to_do.find("to: [{ipBlock: {cidr: 10.96.0.10/32}}]") != std::string::npos);
  CHECK(any_problem(found(list(R"({"ports":[{"port":53,"protocol":"UDP"}]})"))));  // no TCP
  CHECK(
      any_problem(found(list("{" + ports + R"(,"to":[{"ipBlock":{"cidr":"0.0.0.0/0","except":["10.96.0.0/12"]}}]})"))));
  // What policies allow adds up.
  const std::string all =
      R"(,{"metadata":{"namespace":"shop","name":"names"},"spec":{"podSelector":{},"policyTypes":["Egress"],"egress":[{)" +
      ports + R"(,"to":[{"ipBlock":{"cidr":"10.96.0.10/32"}}]}]}})";
  CHECK_FALSE(any_problem(found(list("", all))));
}

TEST_CASE("what the child and the agent print is read, and rubbish is no crash") {
  const PacketFilter filter = read_packet_filter(*parse_json(
      R"({"error":"","tables":[{"family":"ip","name":"kube-proxy"}],"features":{"socket":true,"dummy":false},"legacy":["nat"],
          "nodeLocal":[{}],"chains":[{"family":"ip","table":"filter","name":"INPUT","hook":"input","policy":"drop",
          "rules":[{"comment":"c","expr":[{"accept":null}]}]},7]})"));
  CHECK(filter.has_table("ip", "kube-proxy"));
  CHECK(filter.chains.size() == 2);
  CHECK(filter.chains[0].drops);
  CHECK(filter.features.at("socket"));
  CHECK_FALSE(filter.features.at("dummy"));
  CHECK(filter.node_local_rules == 1);
  CHECK(read_packet_filter(Json(7)).chains.empty());
  const Agent agent = read_agent(*parse_json(R"({"mode":"none","port":70000,"addresses":["10.0.0.1","x"]})"));
  CHECK(agent.error.empty());
  CHECK(agent.port == 53);
  CHECK(agent.addresses.size() == 1);
  CHECK_FALSE(read_agent(Json::object()).error.empty());
}
