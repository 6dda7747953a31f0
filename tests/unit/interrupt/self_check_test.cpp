#include "interrupt/self_check.h"

#include "agent/base/json.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

struct Server {
  kube::Server where{"https://api", "t"};
  int dry_run = 200;
  std::string denied;  // "verb resource"
  unsigned asked = 0;

  HttpReply answer(const HttpRequest& request) {
    ++asked;
    const auto reply = [](int status, std::string body) {
      return HttpReply{.status = status, .headers = {}, .body = std::move(body), .error = {}};
    };
    if (request.method == "GET")
      return reply(200, R"({"metadata":{"name":"n","annotations":{"lastlight.io/interruption":"left"}}})");
    if (request.method == "PATCH") {
      CHECK(request.url.find("dryRun=All") != std::string::npos);
      return reply(dry_run, R"({"message":"no"})");
    }
    const Json body = *parse_json(request.body);
    const std::string what = string_at(body, "spec", "resourceAttributes", "verb") + " " +
                             string_at(body, "spec", "resourceAttributes", "resource");
    return reply(201, what == denied ? R"({"status":{"allowed":false}})" : R"({"status":{"allowed":true}})");
  }
  void run(SelfCheck& check, Instant now) {
    while (auto request = check.next(where, "n", now)) {
      const auto node = check.on_reply(answer(*request), now, 0.5);
      if (request->method == "GET") CHECK(node->annotation == "left");
    }
  }
};

}  // namespace

TEST_CASE("a check asks eight things once, then nothing for an hour") {
  Server server;
  SelfCheck check;
  const Instant start{1h};
  server.run(check, start);
  CHECK(server.asked == 8);
  CHECK(check.missing().empty());
  CHECK(check.finished() == start);
  for (Duration later = 0s; later < 1h; later += 1s)
    CHECK_FALSE(check.next(server.where, "n", start + later));
  CHECK(check.wake() == start + 1h);
  server.run(check, start + 1h);
  CHECK(server.asked == 16);
}

TEST_CASE("what is missing is named, and forgotten once it is there") {
  Server server;
  server.dry_run = 403;
  server.denied = "delete pods";
  SelfCheck check;
  server.run(check, Instant(1h));
  CHECK(check.missing() == std::vector<std::string>{"patch nodes: 403 no", "delete pods: not permitted"});
  server.dry_run = 200;
  server.denied.clear();
  server.run(check, Instant(2h));
  CHECK(check.missing().empty());
}

TEST_CASE("a server that is away is asked again, ever more slowly") {
  SelfCheck check;
  const kube::Server where{"https://api", "t"};
  Instant now{1h};
  unsigned asked = 0;
  for (; now < Instant(2h); now = std::max(now + 1ms, check.wake())) {
    if (!check.next(where, "n", now)) continue;
    ++asked;
    check.on_reply({}, now, 0.9);
  }
  CHECK(asked > 30);
  CHECK(asked < 120);
  CHECK_FALSE(check.finished());
}
