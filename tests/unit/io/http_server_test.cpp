#include "agent/io/http_server.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "agent/io/http_client.h"

#include "tests/support/catch.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;
using namespace std::chrono_literals;
using test::turn_until;

namespace {

io::HttpClient::Resolve no_names() {
  return [](std::string, io::HttpClient::Resolved done) { done({}); };
}

HttpReply length(const HttpRequest& request) {
  return {.status = request.url == "/none" ? 0 : 200,
          .headers = {},
          .body = std::to_string(request.body.size()),
          .error = {}};
}

}  // namespace

TEST_CASE("many requests over many connections", "[http_server]") {
  const bool v6 = GENERATE(false, true);
  io::Loop loop;
  io::HttpServer server(loop, *Endpoint::parse(v6 ? "[::1]:0" : "127.0.0.1:0", 0), length);
  io::HttpClient client(loop, no_names(), {.ca_file = {}, .max_connections = 16});
  const std::string url = std::string(v6 ? "http://[::1]:" : "http://127.0.0.1:") + std::to_string(server.port()) + '/';
  int done = 0, good = 0, left = 2000;
  std::function<void()> next = [&] {
    if (left-- <= 0) return;
    client.send({.url = url}, [&](HttpReply reply) {
      ++done;
      good += reply.status == 200 && reply.body == "0" ? 1 : 0;
      next();
    });
  };
  for (int i = 0; i < 32; ++i)
    next();
  REQUIRE(turn_until(loop, [&] { return done == 2000; }));
  CHECK(good == 2000);
  CHECK(server.counters().requests == 2000);
  CHECK(server.counters().connections <= 16);
}

TEST_CASE("bodies are bounded, methods are few", "[http_server]") {
  io::Loop loop;
  io::HttpServer server(loop, *Endpoint::parse("127.0.0.1:0", 0), length);
  io::HttpClient client(loop, no_names());
  const std::string url = "http://127.0.0.1:" + std::to_string(server.port()) + '/';
  const auto exchange = [&](HttpRequest request) {
    std::optional<HttpReply> got;
    client.send(std::move(request), [&](HttpReply reply) { got = std::move(reply); });
    REQUIRE(turn_until(loop, [&] { return got.has_value(); }));
    return *got;
  };
  CHECK(exchange({.method = "POST", .url = url, .body = std::string(65536, 'x')}).body == "65536");
  CHECK(exchange({.method = "POST", .url = url, .body = std::string(65537, 'x')}).status == 413);
  const HttpRequest chunked{
      .method = "POST", .url = url, .headers = {{"Transfer-Encoding", "chunked"}}, .body = std::string(65537, 'x')};
  CHECK(exchange(chunked).status == 413);
  CHECK(server.counters().rejected == 2);
  CHECK(exchange({.method = "POST", .url = url, .body = std::string(2U << 20, 'x')}).status == 0);
  const std::uint64_t cut = server.counters().rejected;  // curl 8 tries once more when a kept connection is cut
  CHECK((cut == 3 || cut == 4));
  const HttpReply refused = exchange({.method = "PUT", .url = url});
  CHECK(refused.status == 405);
  CHECK(refused.header("Allow") == "GET, HEAD, POST");
  CHECK(server.counters().rejected == cut + 1);
  CHECK(exchange({.method = "HEAD", .url = url}).status == 200);
  CHECK(exchange({.url = url + "none"}).status == 500);
}

TEST_CASE("an idle connection is closed, and a new one is taken", "[http_server]") {
  io::Loop loop;
  io::HttpServer server(loop, *Endpoint::parse("127.0.0.1:0", 0), length, {.max_connections = 1, .idle_timeout = 1s});
  // The second client gets its turn only when the first one's kept connection was timed out.
  io::HttpClient first(loop, no_names()), second(loop, no_names());
  const std::string url = "http://127.0.0.1:" + std::to_string(server.port()) + '/';
  int good = 0;
  first.send({.url = url}, [&](HttpReply reply) { good += reply.ok() ? 1 : 0; });
  REQUIRE(turn_until(loop, [&] { return good == 1; }));
  second.send({.url = url, .timeout = 15s}, [&](HttpReply reply) { good += reply.ok() ? 1 : 0; });
  CHECK(turn_until(loop, [&] { return good == 2; }));
}

TEST_CASE("a taken port is said at construction", "[http_server]") {
  io::Loop loop;
  const io::HttpServer server(loop, *Endpoint::parse("127.0.0.1:0", 0), length);
  const Endpoint taken{.address = IpAddress::v4(0x7f000001), .port = server.port()};
  CHECK_THROWS_WITH(io::HttpServer(loop, taken, length),
                    ContainsSubstring("cannot serve HTTP on 127.0.0.1:") && ContainsSubstring("in use"));
}

TEST_CASE("a request goes through the proxy it names, and only its name is looked up", "[http_client]") {
  io::Loop loop;
  std::string target;
  io::HttpServer proxy(loop, *Endpoint::parse("127.0.0.1:0", 0), [&](const HttpRequest& request) {
    target = request.url;
    return HttpReply{.status = 200, .headers = {}, .body = {}, .error = {}};
  });
  std::vector<std::string> names;
  io::HttpClient client(loop, [&](const std::string& name, io::HttpClient::Resolved done) {
    names.push_back(name);
    done({IpAddress::v4(0x7f000001)});
  });
  const std::string url = "http://proxy.example:" + std::to_string(proxy.port());
  std::optional<HttpReply> got;
  client.send({.url = "http://hook.example/x?y", .proxy = url}, [&](HttpReply reply) { got = std::move(reply); });
  REQUIRE(turn_until(loop, [&] { return got.has_value(); }));
  CHECK(got->status == 200);
  CHECK(target == "http://hook.example/x?y");
  CHECK(names == std::vector<std::string>{"proxy.example"});
  got.reset();
  client.send({.url = "http://hook.example/", .proxy = "socks5://127.0.0.1:1"},
              [&](HttpReply reply) { got = std::move(reply); });
  REQUIRE(turn_until(loop, [&] { return got.has_value(); }));
  CHECK(got->error.find("the proxy is not an http URL") != std::string::npos);
}

TEST_CASE("a request may be answered later, or its client may go", "[http_server]") {
  io::Loop loop;
  std::vector<io::HttpServer::RequestId> open, gone;
  auto server = io::HttpServer::open(
      loop, *Endpoint::parse("127.0.0.1:0", 0),
      [&](const HttpRequest& request, const IpAddress& client, io::HttpServer::RequestId id) {
        CHECK(client == IpAddress::v4(0x7f000001));
        if (request.url == "/now") return std::optional(HttpReply{.status = 204});
        open.push_back(id);
        return std::optional<HttpReply>();
      },
      [&](io::HttpServer::RequestId id) { gone.push_back(id); }, {.max_connections = 64, .buffer = 4096});
  REQUIRE(server);
  io::HttpClient client(loop, no_names(), {.ca_file = {}, .max_connections = 40});
  const std::string url = "http://127.0.0.1:" + std::to_string((*server)->port());
  std::vector<int> got;
  std::vector<io::HttpClient::RequestId> ids;
  for (int i = 0; i < 20; ++i) {
    ids.push_back(client.send({.url = url + "/later", .timeout = 20s},
                              [&](const HttpReply& reply) { got.push_back(reply.status); }));
  }
  REQUIRE(turn_until(loop, [&] { return open.size() == 20; }));
  client.send({.url = url + "/now"}, [&](const HttpReply& reply) { got.push_back(reply.status); });
  REQUIRE(turn_until(loop, [&] { return got.size() == 1; }));
  CHECK(got[0] == 204);  // nobody waits for those who wait
  client.cancel(ids[0]);
  REQUIRE(turn_until(loop, [&] { return gone.size() == 1; }));
  (*server)->reply(gone[0], {.status = 200});
  (*server)->reply(999, {.status = 200});
  for (const auto id : open) {
    if (id != open.back()) (*server)->reply(id, {.status = 200});
  }
  REQUIRE(turn_until(loop, [&] { return got.size() == 19; }));
  CHECK(std::ranges::count(got, 200) == 18);
  const Endpoint held{.address = IpAddress::v4(0x7f000001), .port = (*server)->port()};
  const auto taken = io::HttpServer::open(loop, held, {}, {});
  REQUIRE_FALSE(taken);
  CHECK(taken.error().find("cannot serve HTTP on " + held.to_string()) == 0);
  server->reset();  // with one that still waits
  REQUIRE(turn_until(loop, [&] { return got.size() == 20; }));
}
