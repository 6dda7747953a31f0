#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "agent/base/json.h"
#include "agent/cli/check.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::cli;

namespace {

std::expected<Command, Usage> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "lastlight");
  return parse_command(static_cast<int>(arguments.size()), arguments.data());
}

struct File {
  explicit File(const std::string& text) {
    std::string name = (std::filesystem::temp_directory_path() / "lastlight-XXXXXX").string();
    const int fd = mkstemp(name.data());
    REQUIRE(fd >= 0);
    path = name;
    std::ofstream(path) << text;
  }
  ~File() { std::filesystem::remove(path); }
  std::string path;
};

struct Outcome {
  int code;
  std::string out;
  std::string errors;
};

using Services = std::map<std::string, std::vector<IpAddress>>;

Outcome check_file(const std::string& text, std::map<std::string, std::string> variables,
                   std::vector<ConfigOverride> flags = {}, const Services& services = {},
                   std::optional<Bytes> memory_limit = std::nullopt) {
  const File file(text);
  Command command;
  command.config = file.path;
  command.overrides = std::move(flags);
  std::ostringstream out;
  std::ostringstream errors;
  const int code = check(
      command,
      [&](const char* name) {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
      },
      [&](const Config&, const std::string& name) -> std::expected<std::vector<IpAddress>, std::string> {
        const auto found = services.find(name);
        if (found == services.end()) return std::unexpected("it answered 404");
        return found->second;
      },
      memory_limit, out, errors);
  return {code, out.str(), errors.str()};
}

}  // namespace

TEST_CASE("commands") {
  const auto run = parse({"run", "--config", "/x.yaml", "--node-name=n", "--api-server", "http://127.0.0.1:1"});
  REQUIRE(run);
  CHECK(run->name == Command::Name::Run);
  CHECK(run->config == "/x.yaml");
  REQUIRE(run->overrides.size() == 2);
  CHECK(run->overrides[0].key == "node-name");
  CHECK(run->overrides[0].value == "n");
  CHECK(run->overrides[1].key == "kubernetes.api-server");
  CHECK(parse({"check", "--comments"})->comments);
  CHECK(parse({"version"})->name == Command::Name::Version);
  CHECK(parse({"status", "--alive"})->probe == Command::Probe::Alive);
  using Verb = CacheCommand::Verb;
  const auto get = parse({"cache", "get", "web.shop", "AAAA", "-o", "json"});
  REQUIRE(get);
  CHECK(get->name == Command::Name::Cache);
  CHECK(get->cache.verb == Verb::Get);
  CHECK(get->cache.name == "web.shop");
  CHECK(get->cache.type == "AAAA");
  CHECK(get->cache.output == Output::Json);
  CHECK(parse({"cache", "flush", "all"})->cache.verb == Verb::FlushAll);
  CHECK(parse({"cache", "flush", "all."})->cache.verb == Verb::FlushName);
  CHECK(parse({"cache", "flush", "zone"})->cache.verb == Verb::FlushName);
  CHECK(parse({"cache", "flush", "zone", "cluster.local"})->cache.verb == Verb::FlushZone);
  CHECK(parse({"cache", "flush", "zone", "cluster.local"})->cache.name == "cluster.local");
  CHECK(parse({"cache", "top", "--most", "3"})->cache.most == 3);
  CHECK(parse({"cache", "flush", "a", "b"}).error().exit_code == 2);
  for (const auto& wrong : {std::vector<const char*>{"cache"}, {"cache", "flush"}, {"cache", "top", "-n", "0"}})
    CHECK(parse(wrong).error().exit_code == 2);
  CHECK(parse({"status", "--ready", "--url", "http://h:1"})->url == "http://h:1");
  CHECK(parse({"status", "--ready"})->url.empty());
}

TEST_CASE("the words of status and drain") {
  const auto status = parse({"status", "-f", "-o", "json"});
  REQUIRE(status);
  CHECK(status->probe == Command::Probe::None);
  CHECK(status->status.follow);
  CHECK(status->status.output == Output::Json);
  using Mode = DrainCommand::Mode;
  const auto dry = parse({"drain", "--simulate", "spot", "--in", "90s", "--config", "/x.yaml", "--node-name", "n"});
  REQUIRE(dry);
  CHECK(dry->name == Command::Name::Drain);
  CHECK(dry->drain.mode == Mode::DryRun);
  CHECK(dry->drain.kind == interrupt::NoticeKind::SpotTerminate);
  CHECK(dry->drain.in == std::chrono::seconds(90));
  CHECK(dry->config == "/x.yaml");
  CHECK(dry->overrides.size() == 1);
  CHECK(parse({"drain", "--simulate", "rebalance"})->drain.kind == interrupt::NoticeKind::Rebalance);
  CHECK(parse({"drain", "--simulate", "spot", "--for-real"})->drain.mode == Mode::ForReal);
  CHECK(parse({"drain", "--simulate", "spot", "--for-real", "--standalone"})->drain.standalone);
  CHECK(parse({"drain", "--cancel"})->drain.mode == Mode::Cancel);
  for (const auto& wrong : std::vector<std::vector<const char*>>{{"drain"},
                                                                 {"drain", "--for-real"},
                                                                 {"drain", "--simulate", "flood"},
                                                                 {"drain", "--simulate", "spot", "--in", "2"},
                                                                 {"drain", "--simulate", "spot", "--in", "25h"},
                                                                 {"drain", "--simulate", "spot", "--in", "0s"},
                                                                 {"drain", "--simulate", "spot", "--standalone"},
                                                                 {"drain", "--simulate", "spot", "--cancel"},
                                                                 {"drain", "--in", "2m", "--cancel"}}) {
    const auto parsed = parse(wrong);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().exit_code == 2);
    CHECK_FALSE(parsed.error().text.empty());
  }
  CHECK(parse({"drain", "--simulate", "flood"}).error().text.find("spot-terminate") != std::string::npos);
}

TEST_CASE("what is no command") {
  CHECK(parse({"--help"}).error().exit_code == 0);
  CHECK(parse({"--help"}).error().text.find("run") != std::string::npos);
  CHECK(parse({"run", "--help"}).error().text.find("--node-ip") != std::string::npos);
  for (const auto& arguments : std::vector<std::vector<const char*>>{{},
                                                                     {"walk"},
                                                                     {"run", "--bogus"},
                                                                     {"status", "--bogus"},
                                                                     {"status", "--ready", "--alive"},
                                                                     {"run", "check"}}) {
    const auto parsed = parse(arguments);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().exit_code == 2);
    CHECK_FALSE(parsed.error().text.empty());
  }
}

TEST_CASE("check prints the configuration, and what addresses mean") {
  const Outcome outcome = check_file("", {{"NODE_NAME", "n"}, {"KUBE_DNS_SERVICE_HOST", "10.96.0.10"}});
  CHECK(outcome.code == 0);
  CHECK(outcome.errors.empty());
  CHECK(outcome.out.find("node-name: n\n") != std::string::npos);
  CHECK(outcome.out.find("# dns.listen: service:kube-dns:53 is 10.96.0.10:53 (by KUBE_DNS_SERVICE_HOST; it answered "
                         "404)\n") != std::string::npos);
  CHECK(outcome.out.find("service:lastlight-upstream:53 is unresolved: LASTLIGHT_UPSTREAM_SERVICE_HOST") !=
        std::string::npos);
  CHECK(parse_config(outcome.out, "again").has_value());
}

TEST_CASE("check prints every family of a Service that the API server knows") {
  const Services services{{"kube-dns", {*IpAddress::parse("10.96.0.10"), *IpAddress::parse("fd00::a")}},
                          {"lastlight-upstream", {*IpAddress::parse("10.96.0.99")}}};
  // The environment has one family only.
  const Outcome outcome = check_file("", {{"NODE_NAME", "n"}, {"KUBE_DNS_SERVICE_HOST", "10.96.0.10"}}, {}, services);
  CHECK(outcome.code == 0);
  CHECK(outcome.out.find("# dns.listen: service:kube-dns:53 is 10.96.0.10:53 and [fd00::a]:53 (by the API server)\n") !=
        std::string::npos);
  CHECK(
      outcome.out.find("# zone cluster.local: service:lastlight-upstream:53 is 10.96.0.99:53 (by the API server)\n") !=
      std::string::npos);
  // The second family of the upstream is the second family of what we listen on.
  const Services looped{{"kube-dns", {*IpAddress::parse("10.96.0.10"), *IpAddress::parse("fd00::a")}},
                        {"lastlight-upstream", {*IpAddress::parse("10.96.0.99"), *IpAddress::parse("fd00::a")}}};
  const Outcome loop = check_file("", {{"NODE_NAME", "n"}}, {}, looped);
  CHECK(loop.code == 1);
  CHECK(loop.errors.find("zone cluster.local: service:lastlight-upstream:53 is [fd00::a]:53, where we listen") !=
        std::string::npos);
}

TEST_CASE("check refuses two names of one address") {
  const Outcome outcome = check_file(
      "",
      {{"NODE_NAME", "n"}, {"KUBE_DNS_SERVICE_HOST", "10.96.0.10"}, {"LASTLIGHT_UPSTREAM_SERVICE_HOST", "10.96.0.10"}});
  CHECK(outcome.code == 1);
  CHECK(outcome.errors.find("queries would come back to us") != std::string::npos);
}

TEST_CASE("check prints every problem and flags win") {
  const Outcome bad = check_file("dns:\n  cache-size: 3\nx: 1\n", {{"NODE_NAME", "n"}});
  CHECK(bad.code == 1);
  CHECK(bad.out.empty());
  CHECK(std::count(bad.errors.begin(), bad.errors.end(), '\n') == 2);
  CHECK(bad.errors.find(":2: dns.cache-size: ") != std::string::npos);
  const Outcome flags = check_file("", {{"NODE_NAME", "n"}}, {{"node-name", "command line", "--node-name", "m"}});
  CHECK(flags.out.starts_with("node-name: m\n"));
}

TEST_CASE("check says what fits into the memory there is") {
  const std::string file = "node-name: n\ndns: {listen: [10.0.0.10], zones: [{name: ., upstreams: [1.1.1.1]}]}\n";
  const Outcome free = check_file(file, {});
  CHECK(free.code == 0);
  CHECK(free.out.find("# memory.max is not set: nothing is cut\n") != std::string::npos);
  const Outcome tight = check_file(file, {}, {}, {}, mib(88));
  CHECK(tight.code == 0);
  CHECK(tight.out.find("# memory.max is 88.0 MiB, an eighth stays free\n") != std::string::npos);
  CHECK(tight.out.find("# cache 12.0 MiB, TCP buffers 6.0 MiB, 384 TCP connections 15.0 MiB; in all 77.0 MiB\n") !=
        std::string::npos);
  CHECK(tight.out.find("cache-size: 32MiB") != std::string::npos);  // what is asked for
}

TEST_CASE("check prints JSON for programs") {
  const auto checked = [](const std::string& text) {
    const File file(text);
    Command command;
    command.config = file.path;
    command.output = Output::Json;
    std::ostringstream out;
    std::ostringstream errors;
    const int code = check(
        command, [](const char*) -> const char* { return nullptr; },
        [](const Config&, const std::string&) -> std::expected<std::vector<IpAddress>, std::string> {
          return std::vector{*IpAddress::parse("10.96.0.99")};
        },
        std::nullopt, out, errors);
    const auto json = parse_json(out.str());
    REQUIRE(json);
    return std::pair{code, *json};
  };
  const auto [good, document] = checked("node-name: n\ndns: {max-flights: 7, prefetch: false, listen: [192.0.2.1]}");
  CHECK(good == 0);
  CHECK(bool_at(document, "valid"));
  CHECK(int_at(document, "config", "dns", "max-flights") == 7);
  CHECK(find(document, "config", "dns", "prefetch")->is_boolean());
  CHECK(string_at(document, "config", "dns", "query-timeout") == "5s");
  CHECK(string_at(array_at(document, "config", "dns", "zones").at(0), "name") == "cluster.local");
  CHECK(array_at(document, "addresses").size() > 2);
  const auto [bad, problems] = checked("dns: {listenn: 1}");
  CHECK(bad == 1);
  CHECK_FALSE(bool_at(problems, "valid"));
  CHECK(string_at(array_at(problems, "problems").at(0), "key") == "dns.listenn");
  const auto [looped, loop] = checked("node-name: n\ndns: {listen: [10.96.0.99]}");
  CHECK(looped == 1);
  CHECK_FALSE(bool_at(loop, "valid"));
  CHECK(array_at(loop, "problems").size() > 0);
}
