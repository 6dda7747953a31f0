#include "agent/io/local_socket.h"

#include <optional>

#include <sys/socket.h>

#include "agent/io/http_client.h"
#include "agent/io/http_server.h"

#include "tests/support/catch.h"
#include "tests/support/folder.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;
using test::turn_until;

namespace {

std::unique_ptr<io::HttpServer> serve(io::Loop& loop, const std::string& path, const std::string& answer) {
  auto socket = io::listen_local(path, SOCK_STREAM);
  REQUIRE(socket);
  auto server = io::HttpServer::open_local(loop, std::move(*socket), [answer](const HttpRequest& request) {
    return HttpReply{.status = 200, .headers = {}, .body = answer + request.url, .error = {}};
  });
  REQUIRE(server);
  return std::move(*server);
}

HttpReply get(io::Loop& loop, const std::string& path) {
  io::HttpClient client(loop, [](const std::string&, io::HttpClient::Resolved done) { done({}); });
  std::optional<HttpReply> got;
  client.send({.url = "http://lastlight/x?y=1", .unix_socket = path}, [&](HttpReply reply) { got = std::move(reply); });
  REQUIRE(turn_until(loop, [&] { return got.has_value(); }));
  return *got;
}

}  // namespace

TEST_CASE("HTTP over a Unix socket: the host of the URL is looked up nowhere", "[local_socket]") {
  const test::Folder directory;
  const std::string path = directory.path / "control.sock";
  io::Loop loop;
  const auto server = serve(loop, path, "one");
  CHECK(get(loop, path).body == "one/x?y=1");
  CHECK(server->counters().rejected == 0);
  const auto mode = std::filesystem::status(path).permissions();
  CHECK(mode == (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("a socket that nobody serves is replaced, and so is one that somebody does", "[local_socket]") {
  const test::Folder directory;
  const std::string path = directory.path / "control.sock";
  io::Loop loop;
  auto first = serve(loop, path, "one");
  first.reset();
  CHECK(get(loop, path).status == 0);  // the file of one that was killed
  first = serve(loop, path, "two");
  CHECK(get(loop, path).body == "two/x?y=1");
  const auto second = serve(loop, path, "three");
  CHECK(get(loop, path).body == "three/x?y=1");
  first.reset();  // and takes nothing of its successor's away
  CHECK(get(loop, path).body == "three/x?y=1");
}

TEST_CASE("where there can be no socket the reason is told", "[local_socket]") {
  CHECK(io::listen_local("/nonexistent/control.sock", SOCK_STREAM).error() ==
        "/nonexistent/control.sock: No such file or directory");
  CHECK_FALSE(io::listen_local('/' + std::string(200, 'x'), SOCK_STREAM));
}
