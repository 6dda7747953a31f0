#include "interrupt/hooks/notice_board.h"

#include "agent/base/json.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

struct Board {
  NoticeBoard board;
  Instant now{1h};
  WallTime wall{std::chrono::seconds(1'500'000'000)};  // 2017-07-14T02:40:00Z
  std::uint64_t last = 0;

  std::optional<HttpReply> ask(const std::string& url, const std::string& etag = {}, std::uint32_t client = 1) {
    HttpRequest request{.url = url};
    if (!etag.empty()) request.headers.push_back({"IF-None-Match", etag});
    return board.on_request(request, IpAddress::v4(client), ++last, now, wall);
  }
  Notice notice(Duration in, std::string id = "i") const {
    Notice out;
    out.deadline = in == Duration::max() ? kNever : now + in;
    out.id = std::move(id);
    out.source = "aws";
    return out;
  }
};

}  // namespace

TEST_CASE("without a notice 204, with one its facts", "[hooks]") {
  Board b;
  const auto none = b.ask("/interruption");
  REQUIRE(none);
  CHECK(none->status == 204);
  CHECK(none->header("etag") == "\"none\"");
  CHECK(b.board.on_notice(b.notice(Duration::max(), "later")).empty());
  CHECK(b.ask("/interruption")->body.find("\"secondsLeft\":null") != std::string::npos);
  b.board.on_notice(b.notice(120s));
  b.now += 1s;
  b.wall += 1s;
  const auto told = b.ask("/interruption?x=1");
  REQUIRE(told);
  CHECK(told->status == 200);
  const auto json = parse_json(told->body);
  REQUIRE(json);
  CHECK(string_at(*json, "kind") == "spot-terminate");
  CHECK(string_at(*json, "action") == "terminate");
  CHECK(string_at(*json, "id") == "i");  // the most urgent
  CHECK(string_at(*json, "deadline") == "2017-07-14T02:42:00Z");
  CHECK(told->body.find("\"secondsLeft\":119.0") != std::string::npos);
  CHECK(b.ask("/interruption?wait=60s")->status == 200);  // it does not know yet
  CHECK(b.ask("/other")->status == 404);
  CHECK(b.ask("/interruption?wait=")->status == 400);
  CHECK(b.ask("/interruption?wait=-1s")->status == 400);
  CHECK(b.ask("/interruption?a=b&wait=5x")->status == 400);
  CHECK(b.ask("/interruption?wait=0")->status == 200);
  b.board.on_withdrawn({.id = "i"});
  b.board.on_withdrawn({.id = "later"});
  CHECK(b.ask("/interruption")->status == 204);
}

TEST_CASE("a waiter is told of a change, and only of a change", "[hooks]") {
  Board b;
  CHECK_FALSE(b.ask("/interruption?wait=60s"));
  CHECK_FALSE(b.ask("/interruption?wait=10s"));
  CHECK(b.board.wake() == b.now + 10s);
  CHECK(b.board.expire(b.now + 9s).empty());
  CHECK(b.board.expire(b.now + 10s) == std::vector<std::uint64_t>{2});
  CHECK(b.board.on_notice(b.notice(120s)) == std::vector<std::uint64_t>{1});
  CHECK(b.board.counters().told == 1);
  CHECK(b.board.counters().waiters == 0);
  const std::string etag(b.ask("/interruption")->header("ETag"));
  CHECK_FALSE(b.ask("/interruption?wait=60s", etag));
  CHECK(b.board.on_notice(b.notice(121s)).empty());             // restated
  CHECK(b.board.on_notice(b.notice(121h, "far")).empty());      // less urgent
  CHECK(b.board.reply(b.now, b.wall, etag).status == 304);      // the wait passes
  CHECK(b.board.on_notice(b.notice(60s)).size() == 1);          // moved
  CHECK(b.ask("/interruption?wait=60s", etag)->status == 200);  // knows another one
  CHECK(b.ask("/interruption?wait=60s", "\"none\"")->status == 200);
  CHECK_FALSE(b.ask("/interruption?wait=3600s", std::string(b.ask("/interruption")->header("ETag"))));
  CHECK(b.board.wake() == b.now + NoticeBoard::kMaxWait);
  CHECK(b.board.on_withdrawn({.id = "i"}).size() == 1);
  CHECK(b.board.on_withdrawn({.id = "i"}).empty());
}

TEST_CASE("waiters are bounded, of one address and in all", "[hooks]") {
  Board b;
  for (std::size_t i = 0; i < NoticeBoard::kMaxPerClient; ++i)
    CHECK_FALSE(b.ask("/interruption?wait=60s"));
  const auto refused = b.ask("/interruption?wait=60s");
  REQUIRE(refused);
  CHECK(refused->status == 503);
  CHECK_FALSE(refused->header("Retry-After").empty());
  CHECK(b.ask("/interruption")->status == 204);  // asking is free
  b.board.gone(1);
  b.board.gone(1);
  CHECK_FALSE(b.ask("/interruption?wait=60s"));
  for (std::uint32_t client = 2; b.board.counters().waiters < NoticeBoard::kMaxWaiters; ++client) {
    for (std::size_t i = 0; i < NoticeBoard::kMaxPerClient; ++i)
      REQUIRE_FALSE(b.ask("/interruption?wait=60s", {}, client));
  }
  CHECK(b.ask("/interruption?wait=60s", {}, 99999)->status == 503);
  CHECK(b.board.counters().refused_full == 1);
  CHECK(b.board.counters().refused_client == 1);
  CHECK(b.board.on_notice(b.notice(120s)).size() == NoticeBoard::kMaxWaiters);
  b.board.on_withdrawn({.id = "i"});
  CHECK_FALSE(b.ask("/interruption?wait=60s"));  // nothing is left of those before
}
