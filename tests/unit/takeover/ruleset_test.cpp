#include "dnscache/takeover/ruleset.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;

namespace {

IpAddress ip(const char* text) {
  return IpAddress::parse(text).value();
}

TakeoverPlan both_families() {
  TakeoverPlan plan;
  plan.cluster_ips = {ip("10.96.0.10"), ip("fd00:10::a")};
  plan.link_locals = {{ip("169.254.20.10"), ip("10.96.0.11")}};
  return plan;
}

bool has(const std::string& text, const std::string& line) {
  return text.find("\t" + line + "\n") != std::string::npos;
}

}  // namespace

TEST_CASE("the rule set is the one that was proven, word for word") {
  TakeoverPlan plan;
  plan.cluster_ips = {ip("10.96.0.10")};
  std::ifstream file("tests/unit/takeover/cluster_ip.nft");
  std::stringstream golden;
  golden << file.rdbuf();
  CHECK(rules_up(plan) == golden.str());
}

TEST_CASE("each family has its own rules, and a link-local address leads to its fallback without a lease") {
  const std::string text = rules_up(both_families());
  CHECK(has(text, "ip6 daddr @live6 udp dport 53 socket wildcard 0 notrack accept"));
  CHECK(has(text, "ip saddr { 10.96.0.10, 169.254.20.10 } udp sport 53 notrack"));
  CHECK(has(text, "ip daddr 169.254.20.10 udp dport 53 ip daddr set 10.96.0.11"));
  CHECK(has(text, "ip daddr != @live4 ip daddr 169.254.20.10 tcp dport 53 ip daddr set 10.96.0.11"));
  CHECK(has(text, "ip saddr 10.96.0.11 udp sport 53 ct direction reply ip saddr set 169.254.20.10"));
  CHECK(text.find("ip6 daddr set") == std::string::npos);
}

TEST_CASE("leaving gives the ClusterIPs back at once and keeps what link-local clients need") {
  TakeoverPlan plan = both_families();
  const std::string text = rules_down(plan);
  CHECK(text.find("10.96.0.10,") == std::string::npos);
  CHECK(text.find("fd00:10::a") == std::string::npos);
  CHECK(has(text, "ip daddr 169.254.20.10 udp dport 53 ip daddr set 10.96.0.11"));
  CHECK(text.ends_with("flush set inet lastlight live4\nflush set inet lastlight live6\n"));
  plan.link_locals.clear();
  CHECK(rules_down(plan) == rules_removed());
}

TEST_CASE("the port and the lease are the plan's") {
  TakeoverPlan plan = both_families();
  plan.port = 5353;
  plan.lease = std::chrono::milliseconds(700);
  const std::string text = rules_up(plan);
  CHECK(has(text, "ip daddr @live4 tcp dport 5353 socket transparent 0 notrack accept"));
  CHECK(text.find("udp sport 5353 udp dport 9 update @live4 { ip saddr timeout 700ms } drop") != std::string::npos);
}
