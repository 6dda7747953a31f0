#include "agent/config/reload.h"

#include "agent/config/file.h"
#include "agent/config/kube_dns.h"

#include "tests/support/catch.h"

using namespace lastlight;

namespace {

Config config_of(const std::string& text) {
  auto parsed = parse_config("node-name: n\ndns:\n  listen: [127.0.0.1:53]\n" + text, "f");
  REQUIRE(parsed);
  return *parsed;
}

using Keys = std::vector<std::string>;

}  // namespace

TEST_CASE("A reload applies what can change under way, and names what waits for a restart") {
  const Config running = config_of("");
  Config next = config_of("  cache-size: 1MiB\n  max-stale: 1h\n  receive-buffer: 1MiB\nlog: {level: debug}\n");
  next.dns.listen.push_back(next.dns.listen.front());
  next.node_name = "m";
  next.drain.margin = std::chrono::seconds(7);
  const Reload plan = plan_reload(running, next);
  CHECK(plan.changed == Keys{"log.level", "dns.cache-size", "dns.max-stale"});
  CHECK(plan.restart == Keys{"node-name", "dns.listen", "dns.receive-buffer", "drain.margin"});
  CHECK(plan.config.dns.cache_size == mib(1));
  CHECK(plan.config.log.level == LogConfig::Level::Debug);
  CHECK(plan.config.dns.listen == running.dns.listen);
  CHECK(plan.config.dns.receive_buffer == running.dns.receive_buffer);
  CHECK(plan.config.node_name == "n");
  CHECK(plan.config.drain == running.drain);
}

TEST_CASE("Webhooks, commands and policies wait for a restart: what was made of them stays as it is") {
  const std::string webhook =
      "hooks:\n  webhooks:\n    - {name: a, url: http://a/, headers: [{name: X, value: y}], phases: [notice], hold: "
      "2s}\n";
  const Config running = config_of(webhook + "  commands:\n    - {file: one}\n");
  Config next = config_of("hooks:\n  webhooks: []\n  commands:\n    - {file: one}\n    - {file: two}\n");
  const Reload plan = plan_reload(running, next);
  CHECK(plan.changed.empty());
  CHECK(plan.restart == Keys{"hooks.webhooks", "hooks.commands"});
  CHECK(plan.config.hooks == running.hooks);
  CHECK(plan.config == running);
}

TEST_CASE("Zones come, go and change without a restart; the same configuration changes nothing") {
  const Config running = config_of("");
  CHECK(plan_reload(running, running).changed.empty());
  CHECK(plan_reload(running, running).restart.empty());
  const Config next = config_of(
      "  zones:\n    - {name: cluster.local, upstreams: [10.0.0.1], max-negative-ttl: 2s}\n"
      "    - {name: ., upstreams: resolv.conf}\n");
  const Reload plan = plan_reload(running, next);
  CHECK(plan.changed == Keys{"dns.zones"});
  CHECK(plan.config == next);
}

TEST_CASE("The kube-dns ConfigMap adds stub domains and replaces the upstreams of what is there") {
  Config config = config_of("");
  const auto parsed = parse_kube_dns(R"({"Corp.Example": ["10.1.0.1", "10.1.0.2:5353"], "in-addr.arpa": ["10.2.0.1"]})",
                                     R"(["192.0.2.1", "192.0.2.2"])");
  REQUIRE(parsed);
  const std::size_t before = config.dns.zones.size();
  add_to(config.dns, *parsed);
  REQUIRE(config.dns.zones.size() == before + 1);
  const ZoneConfig& corp = config.dns.zones.back();
  CHECK(corp.name == "corp.example");
  CHECK(corp.protocol == Protocol::Udp);
  CHECK(corp.upstreams.at(1).to_string() == "10.1.0.2:5353");
  for (const ZoneConfig& zone : config.dns.zones) {
    if (zone.name == ".") {
      CHECK_FALSE(zone.from_resolv_conf);
      CHECK(zone.upstreams.size() == 2);
    }
    if (zone.name == "in-addr.arpa") CHECK(zone.upstreams.at(0).to_string() == "10.2.0.1:53");
  }
  CHECK(parse_kube_dns(std::nullopt, " \n")->stub_domains.empty());
}

TEST_CASE("A kube-dns ConfigMap that is wrong says which key, and why") {
  const auto error = [](std::optional<std::string_view> stub, std::optional<std::string_view> upstream) {
    const auto parsed = parse_kube_dns(stub, upstream);
    return parsed ? std::string() : parsed.error();
  };
  CHECK(error("{", {}).starts_with("stubDomains: "));
  CHECK(error("[]", {}).starts_with("stubDomains: expected an object"));
  CHECK(error(R"({"a.b": "10.0.0.1"})", {}).find("a.b: expected a list") != std::string::npos);
  CHECK(error(R"({"a.b": []})", {}).find("is empty") != std::string::npos);
  CHECK(error(R"({"a.b": ["nowhere"]})", {}).find("not \"nowhere\"") != std::string::npos);
  CHECK(error(R"({"a..b": ["10.0.0.1"]})", {}).find("domain name") != std::string::npos);
  CHECK(error({}, R"({"a": 1})").starts_with("upstreamNameservers: "));
  CHECK(error({}, R"(["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"])").find("three") != std::string::npos);
  CHECK(error({}, R"([3])").find("not 3") != std::string::npos);
  CHECK(error({}, R"(["service:web"])").find("IP[:PORT]") != std::string::npos);
}
