#include "agent/http/routes.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace std::chrono_literals;

namespace {

HttpReply get(const std::string& path, const http::Readiness& facts, const std::string& method = "GET") {
  HttpRequest request;
  request.method = method;
  request.url = path;
  return http::route(
      request, {.metrics = [] { return std::string("a 1\n"); }, .readiness = [&] { return facts; }, .status = {}});
}

HttpReply get_status(const std::string& path, const std::string& method = "GET") {
  HttpRequest request;
  request.method = method;
  request.url = path;
  return http::status_route(request, {.metrics = {}, .readiness = {}, .status = [] { return std::string("{}"); }});
}

}  // namespace

TEST_CASE("ready means: sockets bound and a recent answer to ourselves") {
  http::Readiness facts{.sockets_bound = true, .self_answer_age = 1s, .self_answer_limit = 10s, .upstreams = {}};
  CHECK(get("/readyz", facts).status == 200);
  facts.self_answer_age = 11s;
  CHECK(get("/readyz", facts).status == 503);
  facts.self_answer_age.reset();
  CHECK(get("/readyz", facts).status == 503);
  facts = {.sockets_bound = false, .self_answer_age = 1s, .self_answer_limit = 10s, .upstreams = {}};
  CHECK(get("/readyz", facts).status == 503);
}

TEST_CASE("an agent that serves no names is ready") {
  http::Readiness facts;
  facts.serves_dns = false;
  CHECK(get("/readyz", facts).status == 200);
  CHECK(get("/readyz", facts).body.find("dns: off") != std::string::npos);
}

TEST_CASE("a dead upstream is told in the body and does not decide readiness") {
  const http::Readiness facts{.sockets_bound = true,
                              .self_answer_age = 1s,
                              .self_answer_limit = 10s,
                              .upstreams = {{"10.96.0.11:53", false}, {"10.0.0.2:53", true}}};
  const HttpReply reply = get("/readyz?verbose", facts);
  CHECK(reply.status == 200);
  CHECK(reply.body.find("upstream 10.96.0.11:53: not answering") != std::string::npos);
  CHECK(reply.body.find("upstream 10.0.0.2:53: answering") != std::string::npos);
}

TEST_CASE("metrics, health, other paths and other methods") {
  CHECK(get("/metrics", {}).body == "a 1\n");
  CHECK(get("/healthz", {}).status == 200);
  CHECK(get("/", {}).status == 404);
  CHECK(get("/healthz", {}, "POST").status == 405);
}

TEST_CASE("the status page asks nobody but its own listener") {
  const HttpReply page = get_status("/");
  CHECK(page.status == 200);
  CHECK(page.header("Content-Type") == "text/html; charset=utf-8");
  CHECK(page.header("Content-Security-Policy").find("default-src 'none'") == 0);
  CHECK(page.body.find("<!doctype html>") == 0);
  for (const char* outside : {"http://", "https://", "src=", "@import"})
    CHECK(page.body.find(outside) == std::string::npos);
  CHECK(get_status("/status?since=1").body == "{}");
  CHECK(get_status("/status").header("Content-Type") == "application/json");
  CHECK(get_status("/metrics").status == 404);
  CHECK(get_status("/status", "POST").status == 405);
}
