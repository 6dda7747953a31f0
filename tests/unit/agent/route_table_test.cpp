#include "agent/http/route_table.h"

#include "tests/support/catch.h"

using namespace lastlight;

namespace {

http::RouteTable echoing() {
  http::RouteTable table;
  table.add("GET", "/cache/entry", [](const http::Call& call) {
    return http::json_reply({{"name", call.parameter("name")}, {"type", call.parameter("type")}});
  });
  table.add("POST", "/drain", [](const http::Call& call) { return http::json_reply({{"got", call.request.body}}); });
  return table;
}

HttpReply ask(const std::string& method, const std::string& url) {
  return echoing().answer({.method = method, .url = url, .body = "b"});
}

}  // namespace

TEST_CASE("a route is found by path and method, its parameters decoded") {
  CHECK(ask("GET", "/cache/entry?name=a%2Eb&type=A").body == "{\"name\":\"a.b\",\"type\":\"A\"}\n");
  CHECK(ask("GET", "/cache/entry").body == "{\"name\":\"\",\"type\":\"\"}\n");
  CHECK(ask("GET", "/cache/entry?&&=x&name&type==&name=%26").body == "{\"name\":\"&\",\"type\":\"=\"}\n");
  CHECK(ask("POST", "/drain").body == "{\"got\":\"b\"}\n");
  CHECK(ask("POST", "/drain").status == 200);
}

TEST_CASE("what is not there is said, and what is") {
  CHECK(ask("GET", "/cache").status == 404);
  CHECK(ask("GET", "").status == 404);
  CHECK(ask("GET", "/drain").status == 405);
  CHECK(ask("GET", "/").body == "{\"routes\":[\"GET /cache/entry\",\"POST /drain\"]}\n");
  CHECK(ask("GET", "/drain").body == "{\"error\":\"not by GET\"}\n");
}

TEST_CASE("bytes that are not UTF-8 come back as JSON all the same") {
  CHECK(ask("GET", "/cache/entry?name=%FF").body == "{\"name\":\"\xEF\xBF\xBD\",\"type\":\"\"}\n");
}
