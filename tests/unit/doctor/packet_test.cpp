#include "agent/doctor/packet.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::doctor;

namespace {

Chain::Rule rule(const std::string& expressions) {
  return {"", *parse_json("[" + expressions + "]")};
}

Chain input(std::vector<Chain::Rule> rules, bool drops = true) {
  return {
      .family = "ip", .table = "filter", .name = "INPUT", .hook = "input", .drops = drops, .rules = std::move(rules)};
}

const std::string kAccept = R"({"accept":null})", kDrop = R"({"drop":null})";
const std::string kEstablished =
    R"({"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}})";
const std::string kLo = R"({"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":"lo"}})";
const std::string kXtConntrack = R"({"xt":{"type":"match","name":"conntrack"}})";

std::string payload(const char* protocol, const char* field, const std::string& right, const char* op = "==") {
  return std::string(R"({"match":{"op":")") + op + R"(","left":{"payload":{"protocol":")" + protocol +
         R"(","field":")" + field + R"("}},"right":)" + right + "}}";
}

Fate fate(const Chain& chain, std::vector<Chain> more = {}, Packet packet = {.ours = *IpAddress::parse("10.96.0.10")}) {
  more.push_back(chain);
  return fate_in(chain, more, packet);
}

}  // namespace

TEST_CASE("a policy that drops what is not tracked drops our queries") {
  CHECK(fate(input({})) == Fate::Drops);
  CHECK(fate(input({}, false)) == Fate::Passes);
  CHECK(fate(input({rule(kEstablished + "," + kAccept), rule(kLo + "," + kAccept)})) == Fate::Drops);
  CHECK(fate(input({rule(R"({"match":{"op":"in","left":{"ct":{"key":"state"}},"right":"untracked"}},)" + kAccept)})) ==
        Fate::Passes);
  // iptables' own match of the state cannot be read.
  CHECK(fate(input({rule(kXtConntrack + "," + kAccept)})) == Fate::Perhaps);
}

TEST_CASE("ports, addresses, prefixes, sets and ranges are compared") {
  CHECK(fate(input({rule(payload("udp", "dport", "53") + "," + kAccept)})) == Fate::Passes);
  CHECK(fate(input({rule(payload("udp", "dport", R"({"set":[22,{"range":[50,60]}]})") + "," + kAccept)})) ==
        Fate::Passes);
  CHECK(fate(input({rule(payload("tcp", "dport", "53") + "," + kAccept)})) == Fate::Drops);
  CHECK(fate(input({rule(payload("udp", "dport", "53", "!=") + "," + kAccept)})) == Fate::Drops);
  CHECK(fate(input({rule(payload("ip", "daddr", R"({"prefix":{"addr":"10.96.0.0","len":12}})") + "," + kAccept)})) ==
        Fate::Passes);
  CHECK(fate(input({rule(payload("ip", "daddr", R"("10.96.0.11")") + "," + kAccept)})) == Fate::Drops);
  CHECK(fate(input({rule(payload("ip", "daddr", R"("@allowed")") + "," + kAccept)})) == Fate::Perhaps);
  CHECK(fate(input({rule(payload("ip", "saddr", R"("10.244.0.0")") + "," + kDrop)}, false)) == Fate::Perhaps);
  CHECK(fate(input({rule(payload("th", "dport", "53") + "," + kDrop)}, false)) == Fate::Drops);
}

TEST_CASE("jumps are followed and come back; kube-proxy's chains take nothing") {
  const auto jump = [](const char* verdict, const char* target) {
    return rule(std::string(R"({")") + verdict + R"(":{"target":")" + target + R"("}})");
  };
  Chain other = input({rule(payload("udp", "dport", "53") + "," + kDrop)});
  other.name = "other";
  other.hook.clear();
  CHECK(fate(input({jump("jump", "other"), rule(kAccept)}), {other}) == Fate::Drops);
  other.rules = {rule(R"({"return":null})"), rule(kDrop)};
  CHECK(fate(input({jump("jump", "other"), rule(kAccept)}), {other}) == Fate::Passes);
  CHECK(fate(input({jump("jump", "KUBE-FIREWALL"), rule(kAccept)})) == Fate::Passes);
  CHECK(fate(input({jump("goto", "unknown")}, false)) == Fate::Perhaps);
  Chain loop = input({jump("jump", "INPUT")}, false);
  CHECK(fate(loop) == Fate::Perhaps);
}

TEST_CASE("an answer has our source, and families do not mix") {
  Packet answer{.tcp = true, .query = false, .ours = *IpAddress::parse("fd00:96::a")};
  Chain output{.family = "inet", .table = "host", .name = "out", .hook = "output", .drops = true, .rules = {}};
  output.rules = {rule(payload("tcp", "sport", "53") + "," + kAccept)};
  CHECK(fate(output, {}, answer) == Fate::Passes);
  output.rules = {rule(payload("ip", "saddr", R"("10.96.0.10")") + "," + kAccept)};
  CHECK(fate(output, {}, answer) == Fate::Drops);
  CHECK(fate(input({}), {}, answer) == Fate::Passes);  // IPv4's alone
  CHECK(fate(input({rule(R"({"xt":{"type":"target","name":"REJECT"}})")}, false)) == Fate::Drops);
  CHECK(fate(input({rule(R"({"xt":{"type":"target","name":"CT"}})"), rule(kAccept)})) == Fate::Passes);
}
