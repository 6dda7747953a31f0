#include "agent/cli/convert.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/base/json.h"

#include "tests/support/catch.h"
#include "tests/support/folder.h"

using namespace lastlight;
using test::Folder;
namespace fs = std::filesystem;

namespace {

struct Converted {
  int code = 0;
  std::string out;
  std::string errors;
  Config config;

  bool lost(const std::string& part) const {
    const auto from = out.find("# Not carried over:");
    return from != std::string::npos &&
           out.substr(from, out.find("# To know:", from) - from).find(part) != std::string::npos;
  }
  bool noted(const std::string& part) const {
    const auto from = out.find("# To know:");
    return from != std::string::npos && out.find(part, from) != std::string::npos;
  }
  const ZoneConfig& zone(const std::string& name) const {
    for (const ZoneConfig& each : config.dns.zones) {
      if (each.name == name) return each;
    }
    FAIL("no zone " << name << " in\n" << out);
    return config.dns.zones.front();
  }
};

// Whatever is printed must be what `run` would take.
Converted convert(const cli::Command& command) {
  Converted done;
  std::ostringstream out;
  std::ostringstream errors;
  done.code = cli::convert(command, out, errors);
  done.out = out.str();
  done.errors = errors.str();
  if (done.code != 0) return done;
  const auto read = parse_config("node-name: n1\n" + done.out, "converted");
  if (!read) FAIL(read.error().front().to_string() << "\n" << done.out);
  done.config = *read;
  return done;
}

Converted of_corefile(const std::string& text) {
  const Folder folder;
  cli::Command command;
  command.corefile = folder.put("Corefile", text);
  return convert(command);
}

Converted of_handler(const std::string& text) {
  const Folder folder;
  cli::Command command;
  command.nth_env = folder.put("env", text);
  return convert(command);
}

std::string block(const std::string& zone, const std::string& cache, const std::string& forward) {
  return zone + ":53 {\n errors\n cache" + cache +
         "\n reload\n loop\n bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__\n forward . " + forward +
         "\n prometheus :9253\n}\n";
}

// The shape of the Corefile that NodeLocal DNSCache is installed with.
std::string usual() {
  const std::string cluster = "__PILLAR__CLUSTER__DNS__ {\n  force_tcp\n }";
  return block("__PILLAR__DNS__DOMAIN__", " {\n  success 9984 30\n  denial 9984 5\n }", cluster) +
         block("in-addr.arpa", " 30", cluster) + block("ip6.arpa", " 30", cluster) +
         block(".", " 30", "__PILLAR__UPSTREAM__SERVERS__");
}

}  // namespace

TEST_CASE("the usual Corefile", "[convert]") {
  const Converted done = of_corefile(usual());
  INFO(done.out << done.errors);
  REQUIRE(done.code == 0);
  CHECK_FALSE(done.lost(""));
  CHECK(done.noted("__PILLAR__DNS__DOMAIN__"));
  CHECK(done.noted("__PILLAR__LOCAL__DNS__: is taken for 169.254.20.10"));
  CHECK(done.noted("capacity in items"));
  CHECK(done.config.takeover.mode == TakeoverConfig::Mode::Intercept);
  REQUIRE(done.config.takeover.link_local.size() == 1);
  CHECK(done.config.dns.listen == DnsConfig{}.listen);
  CHECK(done.config.dns.zones.size() == 4);
  const ZoneConfig& cluster = done.zone("cluster.local");
  CHECK(cluster.protocol == Protocol::Tcp);
  CHECK(cluster.upstreams.front().to_string() == "service:lastlight-upstream:53");
  CHECK(cluster.max_ttl == 30s);
  CHECK(cluster.max_negative_ttl == 5s);
  CHECK(done.zone("in-addr.arpa").max_negative_ttl == 30s);
  CHECK(done.zone(".").from_resolv_conf);
  CHECK(done.config.interruption.source == InterruptionConfig::Source::None);
  CHECK(done.out.find("attempt-timeout") == std::string::npos);  // what is as ever is not printed
}

TEST_CASE("a Corefile with its placeholders filled in, in IPVS mode", "[convert]") {
  const Converted done = of_corefile(R"(
k8s.example.com:53 {
  cache 60
  bind 169.254.20.25
  forward . 10.96.7.7 { force_tcp
  }
}
in-addr.arpa:53 {
  cache
  bind 169.254.20.25
  forward . 10.96.7.7 { force_tcp
  }
}
. {
  bind 169.254.20.25
  forward . 192.0.2.1 dns://192.0.2.2:5300 /etc/resolv.conf
  bufsize 1400
  prometheus 127.0.0.1:9999
}
)");
  INFO(done.out << done.errors);
  REQUIRE(done.code == 0);
  CHECK(done.config.takeover.mode == TakeoverConfig::Mode::LinkLocal);
  CHECK(done.config.takeover.link_local.front().to_string() == "169.254.20.25:53");
  CHECK(done.config.dns.cluster_domain == "k8s.example.com");
  CHECK(done.zone("in-addr.arpa").max_negative_ttl == 30min);
  CHECK(done.zone(".").from_resolv_conf);
  CHECK_FALSE(done.zone(".").cache);
  CHECK(done.lost(".: is asked of resolv.conf alone"));
  CHECK(done.lost("ip6.arpa: is no zone of the Corefile"));
  CHECK(done.config.dns.udp_payload == 1400);
  CHECK(done.config.http.listen == "127.0.0.1:9999");
}

TEST_CASE("what a Corefile does that we do not is named with its line", "[convert]") {
  const Converted done = of_corefile(usual() + R"(corp.example tls://sec.example other.example:5353 10.0.0.0/8 {
  rewrite name a b
  hosts /etc/hosts
  log
  unheard-of
  bind 0.0.0.0
  cache 999h {
    serve_stale 2h verify
    servfail 0
    keepttl
  }
  forward . 192.0.2.5 tls://192.0.2.6 {
    except a.corp.example
    max_concurrent 1000
    policy sequential
    tls_servername x
  }
}
lost.example {
  template ANY ANY { rcode NXDOMAIN
  }
}
)");
  INFO(done.out << done.errors);
  REQUIRE(done.code == 0);
  CHECK(done.zone("corp.example").upstreams.size() == 1);
  CHECK(done.zone("corp.example").max_ttl == 168h);
  CHECK(done.zone("other.example").upstreams == done.zone("corp.example").upstreams);
  CHECK(done.config.dns.max_stale == 2h);
  CHECK(done.config.dns.failure_ttl == 1s);
  for (const char* part :
       {"rewrite: ", "hosts: ", "log: ", "unheard-of: is not known", "bind 0.0.0.0: ", "cache: keepttl: ",
        "tls://sec.example: ", "other.example:5353: ", "10.0.0.0/8: ", "tls://192.0.2.6: ", "except a.corp.example: ",
        "tls_servername: ", "template: ", "lost.example: has no upstream"}) {
    INFO(part);
    CHECK(done.lost(part));
  }
  for (const char* part : {"cache 999h: is cut to", "max_concurrent: ", "policy: ", "serve_stale: ", "servfail: "}) {
    INFO(part);
    CHECK(done.noted(part));
  }
  CHECK(done.out.find("Corefile:47: rewrite") != std::string::npos);
}

TEST_CASE("the ConfigMap kube-dns goes on being followed", "[convert]") {
  const Folder folder;
  cli::Command command;
  command.corefile = folder.put("Corefile", usual());
  command.kube_dns_configmap = folder.path;
  folder.put("stubDomains", R"({"corp.example": ["192.0.2.9"]})");
  folder.put("federations", "a=b");
  Converted done = convert(command);
  INFO(done.out << done.errors);
  REQUIRE(done.code == 0);
  CHECK(done.config.dns.kube_dns_config == "/etc/kube-dns");
  CHECK(done.lost("federations"));
  folder.put("stubDomains", R"({"corp.example": "192.0.2.9"})");
  done = convert(command);
  CHECK(done.code == 1);
  CHECK(done.errors.find("stubDomains: corp.example: expected a list") != std::string::npos);
}

TEST_CASE("all three at once", "[convert]") {
  const Folder folder;
  cli::Command command;
  command.corefile = folder.put("Corefile", usual());
  command.nth_env = folder.put("nth.env", "ENABLE_SPOT_INTERRUPTION_DRAINING=true\n");
  command.kube_dns_configmap = folder.path;
  folder.put("stubDomains", R"({"corp.example": ["192.0.2.9"]})");
  const Converted done = convert(command);
  INFO(done.out << done.errors);
  REQUIRE(done.code == 0);
  CHECK(done.config.interruption.source == InterruptionConfig::Source::Aws);
  CHECK(done.config.dns.kube_dns_config == "/etc/kube-dns");
  CHECK_FALSE(done.config.dns.listen.empty());
}

TEST_CASE("the termination handler's usual environment", "[convert]") {
  const Converted done = of_handler(R"(NODE_NAME=ip-10-0-0-1
POD_NAME=nth-x
ENABLE_SPOT_INTERRUPTION_DRAINING=true
ENABLE_SCHEDULED_EVENT_DRAINING=true
ENABLE_REBALANCE_MONITORING=false
DELETE_LOCAL_DATA=true
IGNORE_DAEMON_SETS=true
POD_TERMINATION_GRACE_PERIOD=-1
NODE_TERMINATION_GRACE_PERIOD=120
TAINT_NODE=false
CORDON_ONLY=false
METADATA_TRIES=3
JSON_LOGGING=true
LOG_LEVEL=error
WEBHOOK_URL=
INSTANCE_METADATA_URL=http://169.254.169.254
)");
  INFO(done.out << done.errors);
  REQUIRE(done.code == 0);
  CHECK_FALSE(done.lost(""));
  CHECK(done.config.interruption.source == InterruptionConfig::Source::Aws);
  CHECK(done.config.interruption.metadata_url.empty());
  CHECK(done.config.interruption.policy == PolicyConfig{});
  CHECK(done.config.drain.taint.empty());
  CHECK(done.config.log.format == LogConfig::Format::JsonLines);
  CHECK(done.config.log.level == LogConfig::Level::Error);
  CHECK(done.config.dns.listen.empty());  // DNS is left to whom it is with
  CHECK(done.noted("ENABLE_SCHEDULED_EVENT_DRAINING: drains 10m ahead"));
}

TEST_CASE("what the termination handler does that we do not is named", "[convert]") {
  const Converted done = of_handler(R"(# a comment
export ENABLE_SPOT_INTERRUPTION_DRAINING="false"
ENABLE_REBALANCE_MONITORING='true'
ENABLE_ASG_LIFECYCLE_DRAINING=false
CORDON_ONLY=true
DELETE_LOCAL_DATA=false
POD_TERMINATION_GRACE_PERIOD=60
NODE_TERMINATION_GRACE_PERIOD=300
ENABLE_SQS_TERMINATION_DRAINING=true
QUEUE_URL=https://sqs.example.com/q
ENABLE_OUT_OF_SERVICE_TAINT=true
WEBHOOK_URL=https://hooks.example.com/x?y=z
WEBHOOK_HEADERS={"Content-type":"application/json","X-Key":"k"}
WEBHOOK_TEMPLATE={"text":"{{ .EventID }}"}
WEBHOOK_PROXY=http://proxy.example.com:3128
SOMETHING_NEW=1
not a variable
)");
  INFO(done.out << done.errors);
  REQUIRE(done.code == 0);
  CHECK(done.config.interruption.policy.spot_terminate == Treatment::Event);
  CHECK(done.config.interruption.policy.asg_terminate == Treatment::Event);
  REQUIRE(done.config.hooks.webhooks.size() == 1);
  const WebhookConfig& hook = done.config.hooks.webhooks.front();
  CHECK(hook.url == "https://hooks.example.com/x?y=z");
  REQUIRE(hook.headers.size() == 1);
  CHECK(hook.headers.front().name == "X-Key");
  for (const char* part :
       {"ENABLE_REBALANCE_MONITORING", "CORDON_ONLY=true", "DELETE_LOCAL_DATA=false", "POD_TERMINATION_GRACE_PERIOD=60",
        "NODE_TERMINATION_GRACE_PERIOD=300", "ENABLE_SQS_TERMINATION_DRAINING", "QUEUE_URL",
        "ENABLE_OUT_OF_SERVICE_TAINT", "WEBHOOK_TEMPLATE", "WEBHOOK_PROXY", "not a variable"}) {
    INFO(part);
    CHECK(done.lost(part));
  }
  CHECK(done.noted("SOMETHING_NEW: is not known here"));
}

TEST_CASE("as JSON it is the same configuration, with the same remarks", "[convert]") {
  const Folder folder;
  cli::Command command;
  command.corefile = folder.put("Corefile", usual() + "corp.example {\n log\n cache 60\n forward . 192.0.2.5\n}\n");
  command.nth_env = folder.put("env", "TAINT_NODE=true\nCORDON_ONLY=true\nWEBHOOK_URL=https://hooks.example.com/x\n");
  const Converted text = convert(command);
  command.output = cli::Output::Json;
  std::ostringstream out;
  std::ostringstream errors;
  REQUIRE(cli::convert(command, out, errors) == 0);
  const auto json = parse_json(out.str());
  REQUIRE(json);
  CHECK(bool_at(*json, "valid"));
  CHECK(array_at(*json, "problems").empty());
  // What a file of it gives is what the text gives, and no key of it has its default.
  const auto read = parse_config(dump_json(*find(*json, "config")), "json",
                                 std::vector{ConfigOverride{"node-name", "environment", "NODE_NAME", "n1"}});
  if (!read) FAIL(read.error().front().to_string());
  CHECK(effective_yaml(*read) == effective_yaml(text.config));
  CHECK_FALSE(find(*json, "config", "dns", "cache-size"));
  for (const auto& [name, heading] : {std::pair{"notCarriedOver", true}, std::pair{"toKnow", false}}) {
    CHECK_FALSE(array_at(*json, name).empty());
    for (const Json& each : array_at(*json, name)) {
      const std::string said = string_at(each, "what") + ": " + string_at(each, "why");
      INFO(said);
      CHECK((heading ? text.lost(said) : text.noted(said)));
      CHECK(string_at(each, "file").starts_with(folder.path.string()));
    }
  }
  CHECK(int_at(array_at(*json, "notCarriedOver").front(), "line") > 0);
}

TEST_CASE("inputs that cannot be read end it", "[convert]") {
  cli::Command command;
  command.corefile = "/nonexistent/Corefile";
  CHECK(convert(command).errors.starts_with("/nonexistent/Corefile: cannot be read"));
  const Folder folder;
  command.corefile = folder.put("Corefile", ".:53 {\n errors\n");
  const Converted done = convert(command);
  CHECK(done.code == 1);
  CHECK(done.errors.find("Corefile:1: a brace that is not closed") != std::string::npos);
  CHECK(done.out.empty());
  command.output = cli::Output::Json;
  const auto json = parse_json(convert(command).out);
  REQUIRE(json);
  CHECK_FALSE(bool_at(*json, "valid"));
  CHECK(int_at(array_at(*json, "problems").front(), "line") == 1);
}
