#include <map>

#include "agent/config/file.h"
#include "agent/config/service_address.h"

#include "tests/support/catch.h"

using namespace lastlight;

namespace {

const std::string kNode = "node-name: n1\n";

std::vector<std::string> errors_of(const std::string& text) {
  const auto parsed = parse_config(text, "f");
  std::vector<std::string> out;
  if (!parsed) {
    for (const ConfigError& error : parsed.error())
      out.push_back(error.to_string());
  }
  return out;
}

void check_error(const std::string& text, const std::string& start, const std::string& part) {
  const auto errors = errors_of(kNode + text);
  INFO(text);
  REQUIRE(errors.size() == 1);
  INFO(errors[0]);
  CHECK(errors[0].starts_with(start));
  CHECK(errors[0].find(part) != std::string::npos);
}

std::string zones(const std::string& rest) {
  return "dns:\n  listen: [10.0.0.10]\n  zones:\n  - name: .\n    upstreams: [1.1.1.1]\n" + rest;
}

}  // namespace

TEST_CASE("RFC 2308 s7, 9520 s3.2: a failure is remembered for a second at least, and for five minutes at most") {
  CHECK(parse_config(kNode, "f")->dns.failure_ttl >= std::chrono::seconds(1));
  CHECK(errors_of(kNode + "dns: {failure-ttl: 1s}\n").empty());
  CHECK(errors_of(kNode + "dns: {failure-ttl: 5m}\n").empty());
  CHECK(errors_of(kNode + "dns: {failure-ttl: 999ms}\n").size() == 1);
  CHECK(errors_of(kNode + "dns: {failure-ttl: 301s}\n").size() == 1);
}

TEST_CASE("RFC 2308 s5: no negative answer is kept for longer than three hours") {
  const auto with = [](const std::string& ttl) { return kNode + zones("    max-negative-ttl: " + ttl + "\n"); };
  CHECK(errors_of(with("3h")).empty());
  CHECK(errors_of(with("181m")).size() == 1);
}

TEST_CASE("an empty file is every default, and the default zones") {
  const auto config = parse_config(kNode, "f");
  REQUIRE(config);
  Config expected;
  expected.node_name = "n1";
  expected.dns.zones = default_zones("cluster.local");
  CHECK(*config == expected);
  CHECK(config->dns.zones.size() == 4);
  CHECK(parse_config(kNode + "dns:\n  # nothing\n", "f") == config);
}

TEST_CASE("values are read") {
  const auto config = parse_config(R"(
node-name: n1
node-ip: 192.0.2.7
log: {level: debug, format: json}
dns:
  listen: [169.254.20.10, "service:kube-dns:5353", "node:1053", "[2001:db8::1]:53"]
  cache-size: 4MiB
  query-timeout: 2500ms
  cluster-domain: K8s.Example.
  zones:
  - {name: k8s.example, upstreams: [10.96.0.99], protocol: tcp, max-negative-ttl: 5s, relay-updates: true}
  - {name: ., upstreams: resolv.conf, cache: false}
drain: {patience: 0.25}
)",
                                   "f");
  if (!config) FAIL(config.error()[0].to_string());
  CHECK(config->node_ip == IpAddress::parse("192.0.2.7"));
  CHECK(config->log.level == LogConfig::Level::Debug);
  REQUIRE(config->dns.listen.size() == 4);
  CHECK(config->dns.listen[1] == AddressSpec{AddressSpec::Kind::Service, {}, "kube-dns", 5353});
  CHECK(config->dns.listen[2].kind == AddressSpec::Kind::Node);
  CHECK(config->dns.cache_size == mib(4));
  CHECK(config->dns.query_timeout == 2500ms);
  CHECK(config->dns.cluster_domain == "k8s.example");
  REQUIRE(config->dns.zones.size() == 2);
  CHECK(config->dns.zones[0].relay_updates);
  CHECK(config->dns.zones[0].protocol == Protocol::Tcp);
  CHECK(config->dns.zones[1].from_resolv_conf);
  CHECK_FALSE(config->dns.zones[1].cache);
  for (const Comments comments : {Comments::No, Comments::Yes}) {
    const std::string text = effective_yaml(*config, comments);
    INFO(text);
    CHECK(parse_config(text, "again") == config);
  }
}

TEST_CASE("what is printed is read back, odd texts too") {
  Config config;
  config.node_name = "null";
  config.kubernetes.ca_file = "/a b: #\"\\'c";
  config.http.listen = "";
  config.drain.patience = 1.0 / 3;
  config.dns.query_timeout = 2000001us;
  config.dns.zones = default_zones("x.y");
  config.dns.cluster_domain = "x.y";
  const auto again = parse_config(effective_yaml(config), "f");
  if (!again) FAIL(again.error()[0].to_string());
  CHECK(*again == config);
  const std::string text = effective_yaml(Config{});
  CHECK(text.find("query-timeout: 5s\n") != std::string::npos);
  CHECK(text.find("backoff-min: 200ms\n") != std::string::npos);
  CHECK(text.find("cache-size: 32MiB\n") != std::string::npos);
}

TEST_CASE("each problem has its line, its key and what was expected") {
  check_error("dnss: {}", "f:2: dnss: ", "nearest known one is dns");
  check_error("dns:\n  cache-sise: 1MiB", "f:3: dns.cache-sise: ", "nearest known one is cache-size");
  check_error("http:\n  zebra: 1", "f:3: http.zebra: ", "known here: listen");
  check_error("dns:\n  query-timeout: 5x", "f:3: dns.query-timeout: ", "expected a duration from 10ms to 1m");
  check_error("dns:\n  query-timeout: 5", "f:3: dns.query-timeout: ", "not \"5\"");
  check_error("dns:\n  query-timeout: 2h", "f:3: dns.query-timeout: ", "not \"2h\"");
  check_error("dns:\n  query-timeout: [5s]", "f:3: dns.query-timeout: ", "not a list");
  check_error("dns:\n  query-timeout:", "f:3: dns.query-timeout: ", "not nothing");
  check_error("dns:\n  cache-size: 32MB", "f:3: dns.cache-size: ", "expected a size");
  check_error("dns:\n  max-flights: 0", "f:3: dns.max-flights: ", "from 1 to");
  check_error("dns:\n  max-flights: -1", "f:3: dns.max-flights: ", "expected a whole number");
  check_error("dns:\n  udp-payload: 65999", "f:3: dns.udp-payload: ", "512 to 4096");
  check_error("drain: {patience: nan}", "f:2: drain.patience: ", "from 0 to 1");
  check_error("log:\n  level: loud", "f:3: log.level: ", "debug, info, warn or error");
  check_error("log: verbose", "f:2: log: ", "expected a mapping");
  check_error("dns:\n  listen: 10.0.0.1", "f:3: dns.listen: ", "expected a list");
  check_error("dns:\n  listen:\n  - 10.0.0.1\n  - 10.0.0.256", "f:5: dns.listen: ", "10.0.0.256");
  check_error("dns:\n  listen: [10.0.0.1, '10.0.0.1:53']", "f:3: dns.listen: ", "already");
  check_error("node-ip: 300.1.1.1", "f:2: node-ip: ", "an IP address");
  check_error("http: {listen: 'localhost:80'}", "f:2: http.listen: ", "IP[:PORT] or node[:PORT]");
  check_error("http: {listen: 'service:kube-dns'}", "f:2: http.listen: ", "node[:PORT]");
  check_error("http: {status: node}", "f:2: http.status: ", "IP[:PORT], or empty");
  check_error("interruption: {metadata-url: ftp://x}", "f:2: interruption.metadata-url: ", "http://HOST");
  check_error("kubernetes: {token-file: token}", "f:2: kubernetes.token-file: ", "absolute path");
  check_error("log:\n  level: info\n  level: warn", "f:4: log.level: ", "already, on line 3");
}

TEST_CASE("values that contradict each other") {
  check_error("dns: {attempt-timeout: 9s}", "f:2: dns.attempt-timeout: ", "more than query-timeout, 5s");
  check_error("interruption: {backoff-min: 3s}", "f:2: interruption.backoff-min: ", "more than backoff-max, 2s");
  check_error("drain: {retry-min: 6s}", "f:2: drain.retry-min: ", "more than retry-max");
  check_error("dns: {tcp-max-connections: 10}", "f:2: dns.tcp-max-per-client: ", "more than tcp-max-connections, 10");
  CHECK(errors_of("dns: {}").size() == 1);
  CHECK(errors_of("interruption: {source: none}").empty());
}

TEST_CASE("zones: names, upstreams, and never ourselves") {
  CHECK(errors_of(kNode + zones("")).empty());
  check_error(zones("  - name: '.'\n    upstreams: [1.1.1.1]\n"), "f:7: dns.zones[1].name: ", "already");
  check_error(zones("  - name: A.b\n    upstreams: []\n"), "f:8: dns.zones[1].upstreams: ", "empty");
  check_error(zones("  - name: a.b\n"), "f:7: dns.zones[1].upstreams: ", "is missing");
  check_error(zones("  - name: a..b\n    upstreams: [1.1.1.1]"), "f:7: dns.zones[1].name: ", "a domain name");
  check_error(zones("  - name: a.b\n    upstreams: resolv.cnf"), "f:8: dns.zones[1].upstreams: ", "or resolv.conf");
  check_error(zones("  - name: a.b\n    min-ttl: 9s\n    max-ttl: 1s\n    upstreams: [1.1.1.1]"),
              "f:8: dns.zones[1].min-ttl: ", "more than max-ttl");
  check_error(zones("  - name: a.b\n    upstreams: ['10.0.0.10:53']"),
              "f:8: dns.zones[1].upstreams: ", "where we listen");
  check_error(zones("  - name: a.b\n    upstreams: [0.0.0.0]"), "f:8: dns.zones[1].upstreams: ", "no address to ask");
  CHECK(errors_of(kNode + zones("  - name: a.b\n    upstreams: ['10.0.0.10:54']\n")).empty());

  const auto with = [](const std::string& listen, const std::string& upstream) {
    return kNode + "node-ip: 192.0.2.7\ndns:\n  listen: ['" + listen + "']\n  zones:\n  - name: .\n    upstreams: ['" +
           upstream + "']\n";
  };
  for (const auto& [listen, upstream] : std::map<std::string, std::string>{{"service:kube-dns", "service:kube-dns:53"},
                                                                           {"0.0.0.0", "127.0.0.1"},
                                                                           {"0.0.0.0:1053", "127.0.0.9:1053"},
                                                                           {"[::]:53", "::1"},
                                                                           {"node", "192.0.2.7"},
                                                                           {"192.0.2.7", "node"}}) {
    INFO(listen << " " << upstream);
    CHECK(errors_of(with(listen, upstream)).size() == 1);
  }
  CHECK(errors_of(with("0.0.0.0:53", "192.0.2.7")).size() == 1);
  CHECK(errors_of(with("0.0.0.0:53", "node")).size() == 1);
  CHECK(errors_of(with("0.0.0.0:53", "192.0.2.8")).empty());
  CHECK(errors_of(with("0.0.0.0:1053", "127.0.0.1")).empty());
  CHECK(errors_of(with("service:kube-dns", "service:lastlight-upstream")).empty());
}

TEST_CASE("the cluster domain needs a zone that can know it") {
  check_error("dns:\n  zones:\n  - {name: a.b, upstreams: [1.1.1.1]}", "f:3: dns.zones: ", "no zone answers");
  check_error("dns:\n  zones:\n  - {name: ., upstreams: resolv.conf}", "f:3: dns.zones: ", "cannot know it");
  CHECK(errors_of(kNode + "dns:\n  zones:\n  - {name: local, upstreams: [1.1.1.1]}\n"
                          "  - {name: ., upstreams: resolv.conf}")
            .empty());
}

TEST_CASE("all problems at once") {
  const auto errors = errors_of("log: {level: loud}\nbogus: 1\ndns:\n  cache-size: big\n");
  CHECK(errors.size() == 4);  // and node-name
}

TEST_CASE("what is no YAML, or no mapping, is an error with a line") {
  for (const char* text : {"a: [", "a: b: c", "\t- x", "- a", "just text", "a: *nope", "---\n{}\n---\n{}\n",
                           "? [a]\n: b", "dns: !!binary [", "{a: b", "\"\\q\""}) {
    const auto parsed =
        parse_config(text, "f", std::vector<ConfigOverride>{{"node-name", "command line", "--node-name", "n"}});
    INFO(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error()[0].line > 0);
  }
  CHECK_FALSE(parse_config(std::string(100000, '['), "f"));
  CHECK_FALSE(parse_config(std::string(2U << 20, ' '), "f"));
  CHECK_FALSE(parse_config("dns: &a\n  dns: *a\n", "f"));
  CHECK_FALSE(load_config("/nonexistent/lastlight.yaml"));
  CHECK_FALSE(load_config("/"));
}

TEST_CASE("flags beat the environment, which beats the file") {
  const std::map<std::string, std::string> variables{
      {"NODE_NAME", "from-env"}, {"NODE_IP", "192.0.2.1"}, {"POD_NAMESPACE", "dns"}, {"LASTLIGHT_LOG_LEVEL", ""}};
  auto overrides = environment_overrides([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
  CHECK(overrides.size() == 3);
  overrides.push_back({"node-ip", "command line", "--node-ip", "192.0.2.2"});
  const auto config = parse_config("node-name: from-file\nlog: {level: warn}", "f", overrides);
  REQUIRE(config);
  CHECK(config->node_name == "from-env");
  CHECK(config->node_ip == IpAddress::parse("192.0.2.2"));
  CHECK(config->kubernetes.namespace_name == "dns");
  CHECK(config->log.level == LogConfig::Level::Warn);

  overrides.push_back({"log.level", "command line", "--log-level", "loud"});
  const auto bad = parse_config("", "f", overrides);
  REQUIRE_FALSE(bad);
  REQUIRE(bad.error().size() == 1);
  CHECK(bad.error()[0].to_string() == "command line: --log-level: expected debug, info, warn or error, not \"loud\"");
  for (const OverrideName& name : override_names()) {
    CHECK_FALSE(parse_config("", "f", std::vector<ConfigOverride>{{std::string(name.key), "s", "n", "?"}}));
  }
}

TEST_CASE("service and node addresses resolve by the environment") {
  const auto environment = [](const char* name) -> const char* {
    if (std::string_view(name) == "KUBE_DNS_SERVICE_HOST") return "10.96.0.10";
    if (std::string_view(name) == "HEADLESS_SERVICE_HOST") return "None";
    return nullptr;
  };
  const auto resolve = [&](const char* text, std::optional<IpAddress> node_ip = std::nullopt) {
    return resolve_address(*AddressSpec::parse(text), node_ip, environment);
  };
  CHECK(resolve("service:kube-dns:5353")->to_string() == "10.96.0.10:5353");
  CHECK(resolve("1.2.3.4")->to_string() == "1.2.3.4:53");
  CHECK(resolve("node", IpAddress::parse("2001:db8::1"))->to_string() == "[2001:db8::1]:53");
  CHECK_FALSE(resolve("node"));
  CHECK(resolve("service:lastlight-upstream").error().starts_with("LASTLIGHT_UPSTREAM_SERVICE_HOST is not set"));
  CHECK_FALSE(resolve("service:headless"));
}

TEST_CASE("addresses that cannot be") {
  for (const char* text : {"", "service:", "service:a:0", "service:a:99999", "service:A", "service:-a",
                           "node:", "nodes", "1.2.3.4:0", "1.2.3", "::1:x", "service:a:1:2"}) {
    INFO(text);
    CHECK_FALSE(AddressSpec::parse(text));
  }
  for (const char* text : {"1.2.3.4:53", "[::1]:5353", "service:a:53", "node:1"}) {
    CHECK(AddressSpec::parse(text)->to_string() == text);
  }
}

TEST_CASE("hooks are read and printed back, with lines in a body") {
  const std::string text = kNode + R"(
hooks:
  listen: [127.0.0.1, "node:9300"]
  webhooks:
  - name: slack
    url-file: /etc/lastlight/secrets/slack
    phases: [notice, drained, failed]
    headers: [{name: Authorization, value-file: /etc/lastlight/secrets/token}, {name: X-A, value: "b \"c\""}]
    hold: 5s
    body: |
      {"text": "{{ text }}"}
  commands: [{file: leave.sh, timeout: 20s}]
)";
  const auto config = parse_config(text, "f");
  if (!config) FAIL(config.error()[0].to_string());
  REQUIRE(config->hooks.webhooks.size() == 1);
  CHECK(config->hooks.listen[0].port == 9255);
  CHECK(config->hooks.webhooks[0].body == "{\"text\": \"{{ text }}\"}\n");
  CHECK(config->hooks.webhooks[0].phases == std::vector{HookPhase::Notice, HookPhase::Drained, HookPhase::Failed});
  CHECK(config->hooks.webhooks[0].headers.size() == 2);
  CHECK(config->hooks.commands[0].phases == std::vector{HookPhase::Notice});
  const auto again = parse_config(effective_yaml(*config), "again");
  if (!again) FAIL(again.error()[0].to_string());
  CHECK(*again == *config);
  check_error("hooks: {webhooks: [{url: http://a}]}", "f:2: hooks.webhooks[0].name: ", "is missing");
  check_error("hooks: {webhooks: [{name: a, url: nowhere}]}", "f:2: hooks.webhooks[0].url: ", "expected http://HOST");
  check_error("hooks: {webhooks: [{name: a, url: http://a, phases: [soon]}]}",
              "f:2: hooks.webhooks[0].phases: ", "soon");
  check_error("hooks: {commands: [{file: ../sh}]}", "f:2: hooks.commands[0].file: ", "without a path");
}
