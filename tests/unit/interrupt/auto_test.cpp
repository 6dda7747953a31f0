#include "interrupt/sources/auto.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

HttpReply reply(int status, std::string body = {}, std::vector<HttpHeader> headers = {}) {
  return {.status = status, .headers = std::move(headers), .body = std::move(body), .error = {}};
}

HttpReply aws(const HttpRequest& request) {
  if (request.url.find("fd00") != std::string::npos) return reply(0);
  if (request.method == "PUT") return reply(200, "T", {{"X-aws-ec2-metadata-token-ttl-seconds", "60"}});
  return reply(401, "", {{"Server", "EC2ws"}});
}
HttpReply aws_behind_a_hop(const HttpRequest& request) {
  return request.method == "PUT" ? reply(0) : aws(request);
}
HttpReply gcp(const HttpRequest& request) {
  const bool known = request.url.find("/computeMetadata/") != std::string::npos;
  return reply(known ? 200 : 404, "123", {{"Metadata-Flavor", "Google"}, {"Server", "Metadata Server for VM"}});
}
HttpReply azure(const HttpRequest& request) {
  if (request.url.find("/azEnvironment") != std::string::npos) return reply(200, "AzurePublicCloud");
  return reply(400);
}
HttpReply nobody(const HttpRequest&) {
  return reply(0);
}
HttpReply portal(const HttpRequest&) {
  return reply(200, "<html>log in</html>", {{"Server", "portal"}});
}

// One round; what was found, if anything.
std::optional<Found> round(AutoSource& source, Instant& now, HttpReply (*service)(const HttpRequest&), int& requests) {
  for (requests = 0; requests < 10;) {
    SourceStep step = source.next(now);
    if (step.send.empty()) return std::nullopt;
    REQUIRE(step.send.size() == 1);
    ++requests;
    const SourceEvents events = source.on_reply(0, service(step.send[0].request), now, now + 1ms);
    now += 1ms;
    if (!events.empty()) return std::get<Found>(events.at(0));
  }
  return std::nullopt;
}

}  // namespace

TEST_CASE("each cloud is recognised by what only it says") {
  struct Row {
    HttpReply (*service)(const HttpRequest&);
    std::string_view name;
  };
  for (const auto& [service, name] :
       {Row{aws, "aws"}, Row{aws_behind_a_hop, "aws"}, Row{gcp, "gcp"}, Row{azure, "azure"}}) {
    AutoSource source{InterruptionConfig{}, [] { return 1.0; }};
    CHECK(source.name() == "auto");
    Instant now{1h};
    int requests = 0;
    const auto found = round(source, now, service, requests);
    REQUIRE(found);
    CHECK(found->source == name);
    CHECK(found->why.find("recognised") != std::string::npos);
    CHECK(requests == 5);
    CHECK(source.name() == name);
    CHECK_FALSE(source.next(now).send.empty());  // and it is that source from now on
    CHECK(source.counters().requests >= 6);      // they never go back
  }
}

TEST_CASE("where nobody is recognised it is said once, and asked ever more rarely") {
  for (const auto service : {nobody, portal}) {
    AutoSource source{InterruptionConfig{}, [] { return 1.0; }};
    Instant now{1h};
    int requests = 0, rounds = 0;
    const auto found = round(source, now, service, requests);
    REQUIRE(found);
    CHECK(found->source == "none");
    for (const Instant end = now + 24h; now < end; ++rounds) {
      now = source.next(now).wake;
      CHECK_FALSE(round(source, now, service, requests));
    }
    CHECK(rounds < 310);
    CHECK(rounds > 280);
    now = source.next(now).wake;
    const auto late = round(source, now, aws, requests);
    REQUIRE(late);
    CHECK(late->source == "aws");
  }
}
