#include "agent/io/http_client.h"

#include <filesystem>
#include <map>
#include <optional>

#include <fcntl.h>
#include <sys/socket.h>

#include "agent/io/file_descriptor.h"
#include "agent/io/http_server.h"
#include "agent/io/poll.h"

#include "tests/support/catch.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;
using namespace std::chrono_literals;
using test::turn_until;

namespace {

const Endpoint kLoopback{.address = IpAddress::v4(0x7f000001), .port = 0};

std::size_t threads() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

io::HttpClient::Resolve no_names() {
  return [](std::string host, io::HttpClient::Resolved done) {
    FAIL_CHECK("looked up " << host);
    done({});
  };
}

// A peer that says exactly what it is told to: for replies a proper server never sends.
class RawPeer {
 public:
  explicit RawPeer(io::Loop& loop) : loop_(loop), listener_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    sockaddr_storage address{};
    const socklen_t size = kLoopback.to_sockaddr(address);
    REQUIRE(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    socklen_t length = sizeof address;
    REQUIRE(getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
    port_ = Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&address))->port;
  }
  void listen() {
    REQUIRE(::listen(listener_.get(), 8) == 0);
    poll_.emplace(loop_, listener_.get(), [this](io::Poll::Ready) {
      connection_ = io::FileDescriptor(accept(listener_.get(), nullptr, nullptr));
    });
    poll_->watch(true, false);
  }
  bool connected() const { return static_cast<bool>(connection_); }
  void say(std::string_view text) {
    REQUIRE(write(connection_.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void hang_up() { connection_ = io::FileDescriptor(); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/x"; }

 private:
  io::Loop& loop_;
  io::FileDescriptor listener_, connection_;
  std::optional<io::Poll> poll_;
  std::uint16_t port_ = 0;
};

HttpReply echo(const HttpRequest& request) {
  HttpReply reply{.status = 200, .headers = {{"Content-Type", "text/plain"}}, .body = {}, .error = {}};
  if (request.url == "/big") {
    reply.body.assign(100'000, 'b');
    return reply;
  }
  reply.body = request.method + ' ' + request.url + '\n' + request.body;
  for (const HttpHeader& h : request.headers)
    reply.headers.push_back({"X-Got-" + h.name, h.value});
  return reply;
}

struct Fixture {
  io::Loop loop;
  io::HttpServer server{loop, kLoopback, echo};
  io::HttpClient client{loop, no_names()};
  std::string base = "http://127.0.0.1:" + std::to_string(server.port());

  HttpReply exchange(HttpRequest request) { return exchange(client, std::move(request)); }
  HttpReply exchange(io::HttpClient& by, HttpRequest request) {
    std::optional<HttpReply> got;
    by.send(std::move(request), [&](HttpReply reply) { got = std::move(reply); });
    CHECK_FALSE(got);  // never inside send()
    REQUIRE(turn_until(loop, [&] { return got.has_value(); }));
    return *got;
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "requests reuse one connection", "[http_client]") {
  for (int i = 0; i < 50; ++i) {
    const HttpReply reply = exchange({.url = base + "/a?n=" + std::to_string(i)});
    CHECK(reply.status == 200);
    CHECK(reply.body == "GET /a?n=" + std::to_string(i) + '\n');
    CHECK(reply.header("content-type") == "text/plain");
    CHECK_FALSE(reply.header("Date").empty());
  }
  CHECK(server.counters().connections == 1);
  CHECK(client.counters().connections == 1);
  CHECK(client.counters().failures == 0);
}

TEST_CASE_METHOD(Fixture, "the same request again and again: each reply is its own", "[http_client]") {
  int asked = 0;
  io::HttpServer counting(loop, kLoopback, [&](const HttpRequest&) {
    HttpReply reply{.status = 200, .headers = {}, .body = std::to_string(++asked), .error = {}};
    if (asked % 3 == 0) reply = {.status = 404, .headers = {{"X-Third", "yes"}}, .body = {}, .error = {}};
    return reply;
  });
  const HttpRequest request{.url = "http://127.0.0.1:" + std::to_string(counting.port()) + "/same",
                            .headers = {{"A", "b"}}};
  for (int i = 1; i <= 30; ++i) {
    const HttpReply reply = exchange(request);
    CHECK(reply.status == (i % 3 == 0 ? 404 : 200));
    CHECK(reply.body == (i % 3 == 0 ? "" : std::to_string(i)));
    CHECK(reply.header("X-Third") == (i % 3 == 0 ? "yes" : ""));
    CHECK(std::ranges::count(reply.headers, "Date", &HttpHeader::name) == 1);
  }
  CHECK(client.counters().connections == 1);
  int good = 0;
  for (int i = 0; i < 3; ++i)  // at the same time
    client.send(request, [&](HttpReply reply) { good += reply.status != 0 ? 1 : 0; });
  client.cancel(client.send(request, [](HttpReply) { FAIL_CHECK("called after cancel"); }));
  REQUIRE(turn_until(loop, [&] { return good == 3; }));
  std::string streamed;
  bool ended = false;
  client.stream(request, {}, [&](std::string_view bytes) { streamed += bytes; }, [&](HttpReply) { ended = true; });
  REQUIRE(turn_until(loop, [&] { return ended; }));
  CHECK(streamed == std::to_string(asked));
}

TEST_CASE_METHOD(Fixture, "a connection that its peer closes while nobody waits is at rest, then replaced",
                 "[http_client]") {
  RawPeer peer(loop);
  peer.listen();
  const HttpRequest request{.url = peer.url()};
  for (int i = 0; i < 3; ++i) {
    std::optional<HttpReply> got;
    client.send(request, [&](HttpReply reply) { got = std::move(reply); });
    REQUIRE(turn_until(loop, [&] { return peer.connected(); }));
    peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    REQUIRE(turn_until(loop, [&] { return got.has_value(); }));
    CHECK(got->body == "ok");
    peer.hang_up();
    bool over = false;
    io::Timer rest(loop, [&] { over = true; });
    rest.start_in(50ms);
    int turns = 0;
    REQUIRE(turn_until(loop, [&] { return ++turns > 0 && over; }));
    CHECK(turns < 20);
  }
  CHECK(client.counters().connections == 3);
  CHECK(client.counters().failures == 0);
  std::optional<HttpReply> broken;
  client.send(request, [&](HttpReply reply) { broken = std::move(reply); });
  REQUIRE(turn_until(loop, [&] { return peer.connected(); }));
  peer.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
  peer.hang_up();
  REQUIRE(turn_until(loop, [&] { return broken.has_value(); }));
  CHECK(broken->status == 0);
  CHECK(broken->body.empty());
}

TEST_CASE_METHOD(Fixture, "bodies and headers go out as given, and nothing else", "[http_client]") {
  const HttpReply reply = exchange({.method = "POST",
                                    .url = base + "/p",
                                    .headers = {{"Content-Type", "application/json"}, {"X-Empty", ""}},
                                    .body = std::string(20'000, 'p')});
  CHECK(reply.body == "POST /p\n" + std::string(20'000, 'p'));
  CHECK(reply.header("X-Got-Content-Type") == "application/json");
  CHECK(reply.header("X-Got-User-Agent") == "lastlight");
  CHECK(reply.header("X-Got-Accept-Encoding").empty());
  CHECK(reply.header("X-Got-Expect").empty());
  const HttpReply bare = exchange({.method = "POST", .url = base + "/p"});
  CHECK(bare.header("X-Got-Content-Length") == "0");
  CHECK(bare.header("X-Got-Content-Type").empty());
  CHECK(exchange({.method = "DELETE", .url = base + "/p"}).status == 405);
}

TEST_CASE_METHOD(Fixture, "a reply above max_body is an error", "[http_client]") {
  CHECK(exchange({.url = base + "/big", .max_body = 100'000}).body.size() == 100'000);
  const HttpReply reply = exchange({.url = base + "/big", .max_body = 99'999});
  CHECK(reply.status == 0);
  CHECK(reply.body.empty());
  CHECK(reply.error == base + ": the reply is longer than 99999 bytes");
  CHECK(client.counters().too_large == 1);
}

TEST_CASE_METHOD(Fixture, "names are looked up by the given function only, and no thread starts", "[http_client]") {
  std::map<std::string, int> asked;
  io::HttpClient named(loop, [&](std::string host, io::HttpClient::Resolved done) {
    ++asked[host];
    done(host == "nowhere.test" ? std::vector<IpAddress>{} : std::vector{kLoopback.address});
  });
  const std::size_t before = threads();
  const std::string port = ':' + std::to_string(server.port());
  for (const std::string host : {"api.lastlight.test", "UPPER.lastlight.test", "dot.lastlight.test.", "localhost"}) {
    const HttpReply reply = exchange(named, {.url = "http://" + host + port + "/n"});
    INFO(host << ": " << reply.error);
    CHECK(reply.status == 200);
    CHECK(threads() == before);
  }
  CHECK(exchange(named, {.url = "http://nowhere.test" + port}).error ==
        "http://nowhere.test" + port + ": the name nowhere.test has no address");
  CHECK(asked.size() == 5);
  CHECK(threads() == before);
}

TEST_CASE_METHOD(Fixture, "a slow lookup counts in the timeout, and may answer too late", "[http_client]") {
  io::HttpClient::Resolved answer;
  io::HttpClient named(loop, [&](std::string, io::HttpClient::Resolved done) { answer = std::move(done); });
  const HttpReply reply = exchange(named, {.url = "http://slow.test/", .timeout = 20ms});
  CHECK(reply.error == "http://slow.test:80: the name was not looked up within 0.02 s");
  answer({kLoopback.address});
  const auto id = named.send({.url = "http://slow.test/"}, [](HttpReply) { FAIL_CHECK("called after cancel"); });
  named.cancel(id);
  answer({kLoopback.address});
  CHECK(exchange({.url = base}).ok());
}

TEST_CASE_METHOD(Fixture, "what cannot be asked fails in words", "[http_client]") {
  CHECK(exchange({.url = "ftp://127.0.0.1/"}).error == "not an http or https URL: ftp://127.0.0.1/");
  CHECK(exchange({.url = "nonsense"}).error == "not an http or https URL: nonsense");
  CHECK(exchange({.url = base, .headers = {{"A", "b\r\nC: d"}}})
            .error.ends_with("a control character in the request's method or headers"));
  const RawPeer silent(loop);  // bound, not listening
  const HttpReply refused = exchange({.url = silent.url()});
  CHECK(refused.status == 0);
  CHECK_THAT(refused.error, ContainsSubstring("127.0.0.1") && ContainsSubstring("refused"));
  CHECK(client.counters().failures == 4);
  CHECK(server.counters().connections == 0);
}

TEST_CASE_METHOD(Fixture, "a peer that says nothing runs into the timeout", "[http_client]") {
  RawPeer peer(loop);
  peer.listen();
  const HttpReply reply = exchange({.url = peer.url(), .timeout = 30ms});
  CHECK(reply.status == 0);
  CHECK(reply.error.ends_with("no whole reply within 0.03 s"));
  CHECK(client.counters().timeouts == 1);
}

TEST_CASE_METHOD(Fixture, "requests above max_requests fail, those above max_connections wait", "[http_client]") {
  io::HttpClient small(loop, no_names(), {.ca_file = {}, .max_connections = 2, .max_requests = 10});
  int good = 0, bad = 0;
  for (int i = 0; i < 12; ++i)
    small.send({.url = base}, [&](HttpReply reply) { ++(reply.ok() ? good : bad); });
  REQUIRE(turn_until(loop, [&] { return good + bad == 12; }));
  CHECK(bad == 2);
  CHECK(small.counters().refused == 2);
  CHECK(server.counters().connections <= 2);
}

TEST_CASE_METHOD(Fixture, "cancelling inside a callback silences a reply that is on its way", "[http_client]") {
  RawPeer peer(loop);
  peer.listen();
  const auto doomed = client.send({.url = peer.url()}, [](HttpReply) { FAIL_CHECK("called after cancel"); });
  REQUIRE(turn_until(loop, [&] { return peer.connected(); }));
  bool followed = false;
  client.send({.url = base + "/1"}, [&](HttpReply) {
    peer.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    client.cancel(doomed);
    client.cancel(doomed);
    client.send({.url = base + "/2"}, [&](HttpReply reply) { followed = reply.ok(); });
  });
  REQUIRE(turn_until(loop, [&] { return followed; }));
  CHECK(exchange({.url = base}).ok());
}

TEST_CASE_METHOD(Fixture, "a stream is handed over as it comes", "[http_client]") {
  RawPeer peer(loop);
  peer.listen();
  int status = 0;
  std::string bytes;
  std::optional<HttpReply> end;
  client.stream(
      {.url = peer.url(), .max_body = 1}, [&](int s) { status = s; }, [&](std::string_view b) { bytes += b; },
      [&](HttpReply reply) { end = std::move(reply); });
  REQUIRE(turn_until(loop, [&] { return peer.connected(); }));
  peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n");
  REQUIRE(turn_until(loop, [&] { return status == 200; }));
  CHECK(bytes.empty());
  peer.say("6\r\nfirst\n\r\n");
  REQUIRE(turn_until(loop, [&] { return bytes == "first\n"; }));
  CHECK_FALSE(end);
  SECTION("ended by the peer") {
    peer.say("3\r\nend\r\n0\r\n\r\n");
    REQUIRE(turn_until(loop, [&] { return end.has_value(); }));
    CHECK(bytes == "first\nend");
    CHECK(end->status == 200);
    CHECK(end->header("x-a") == "b");
    CHECK(end->body.empty());
  }
  SECTION("broken off") {
    peer.hang_up();
    REQUIRE(turn_until(loop, [&] { return end.has_value(); }));
    CHECK(end->status == 0);
    CHECK_FALSE(end->error.empty());
  }
}

TEST_CASE_METHOD(Fixture, "a stream is alive while bytes come, and ends when they do not", "[http_client]") {
  RawPeer peer(loop);
  peer.listen();
  int pieces = 0;
  std::optional<HttpReply> end;
  io::Timer next(loop, [&] { peer.say("1\r\nx\r\n"); });
  const Instant start = loop.refresh();
  client.stream(
      {.url = peer.url(), .timeout = 400ms}, {},
      [&](std::string_view) {
        if (++pieces < 6) next.start_in(100ms);
      },
      [&](HttpReply reply) { end = std::move(reply); });
  REQUIRE(turn_until(loop, [&] { return peer.connected(); }));
  peer.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
  REQUIRE(turn_until(loop, [&] { return end.has_value(); }));
  CHECK(pieces == 6);
  CHECK(end->error.ends_with("nothing was received for 0.4 s"));
  CHECK(loop.now() - start >= 900ms);
}

TEST_CASE_METHOD(Fixture, "a stream cancelled in its own callback is silent afterwards", "[http_client]") {
  io::HttpClient::RequestId id = 0;
  int calls = 0;
  const bool by_headers = GENERATE(true, false);
  id = client.stream(
      {.url = base + "/big"},
      [&](int) {
        ++calls;
        if (by_headers) client.cancel(id);
      },
      [&](std::string_view) {
        ++calls;
        client.cancel(id);
      },
      [&](HttpReply) { calls += 100; });
  REQUIRE(turn_until(loop, [&] { return calls > 0; }));
  CHECK(exchange({.url = base}).ok());
  CHECK(calls == (by_headers ? 1 : 2));
}

TEST_CASE_METHOD(Fixture, "a client may go while requests are open", "[http_client]") {
  RawPeer peer(loop);
  peer.listen();
  std::optional<io::HttpClient> brief(std::in_place, loop, no_names());
  brief->send({.url = peer.url()}, [](HttpReply) { FAIL_CHECK("called"); });
  brief->send({.url = base}, [](HttpReply) { FAIL_CHECK("called"); });
  REQUIRE(turn_until(loop, [&] { return peer.connected(); }));
  brief.emplace(loop, no_names());
  CHECK(exchange(*brief, {.url = base}).ok());
}
