#include "interrupt/sources/aws.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

constexpr const char* kDate = "Mon, 18 Sep 2017 08:20:00 GMT";
constexpr const char* kAction = R"({"action": "terminate", "time": "2017-09-18T08:22:00Z"})";

HttpReply reply(int status, std::string body = {}, std::vector<HttpHeader> headers = {}) {
  return {.status = status, .headers = std::move(headers), .body = std::move(body), .error = {}};
}
HttpReply silence() {
  return {.status = 0, .headers = {}, .body = {}, .error = "timed out"};
}
HttpReply granted(std::string token, int ttl = 21600) {
  return reply(200, std::move(token), {{"x-aws-ec2-metadata-token-ttl-seconds", std::to_string(ttl)}});
}
HttpReply notice(std::string body = kAction) {
  return reply(200, std::move(body), {{"Date", kDate}});
}

struct Rig {
  InterruptionConfig config;
  AwsSource source{config, [] { return 1.0; }};
  Instant now{1h};

  // Runs to the next request.
  HttpRequest ask() {
    for (int i = 0; i < 3; ++i) {
      SourceStep step = source.next(now);
      if (step.send) return *step.send;
      REQUIRE(step.wake > now);
      REQUIRE(step.wake <= now + config.backoff_max);
      now = step.wake;
    }
    FAIL("the source stopped asking");
    return {};
  }
  SourceResult answer(const HttpReply& r, Duration took = 5ms) {
    const Instant sent = now;
    now += took;
    return source.on_reply(r, sent, now);
  }
  void token() {
    REQUIRE(ask().method == "PUT");
    answer(granted("T1"));
  }
};

}  // namespace

TEST_CASE("a token is asked first, then the item once a second on its grid") {
  Rig rig;
  const HttpRequest put = rig.ask();
  CHECK(put.method == "PUT");
  CHECK(put.url == "http://169.254.169.254/latest/api/token");
  CHECK(put.headers.at(0).name == "X-aws-ec2-metadata-token-ttl-seconds");
  CHECK(put.headers.at(0).value == "21600");
  const Instant began = rig.now;
  rig.answer(granted("T1\n"));
  for (int i = 0; i < 5; ++i) {
    const HttpRequest get = rig.ask();
    CHECK(get.method == "GET");
    CHECK(get.url == "http://169.254.169.254/latest/meta-data/spot/instance-action");
    CHECK(get.headers.at(0).value == "T1");
    CHECK(rig.now - began < i * 1s + 10ms);
    CHECK_FALSE(rig.source.next(rig.now).send);  // one at a time
    CHECK(std::holds_alternative<std::monostate>(rig.answer(reply(404))));
    CHECK(rig.source.last_success() == rig.now);
  }
  CHECK(rig.source.counters().polls_ok == 5);
}

TEST_CASE("a notice's deadline is the service's own time left, announced once") {
  Rig rig;
  rig.token();
  rig.ask();
  const auto found = rig.answer(notice());
  REQUIRE(std::holds_alternative<Notice>(found));
  const Notice& n = std::get<Notice>(found);
  CHECK(n.deadline == rig.now - 5ms + 120s - 500ms);  // a Date is the second that it lies in
  CHECK(n.action == NoticeAction::Terminate);
  CHECK(n.id == "aws-spot-terminate-2017-09-18T08:22:00Z");
  CHECK_FALSE(n.deadline_assumed);
  rig.ask();
  CHECK(std::holds_alternative<std::monostate>(rig.answer(notice())));
  rig.ask();
  CHECK(std::holds_alternative<Notice>(rig.answer(notice(R"({"action":"stop","time":"2017-09-18T08:23:00Z"})"))));
}

TEST_CASE("a notice is withdrawn by 404s in a row, not by one and not by errors") {
  Rig rig;
  rig.token();
  rig.ask();
  rig.answer(notice());
  for (const int status : {404, 404, 503, 404, 404}) {
    rig.ask();
    CHECK(std::holds_alternative<std::monostate>(rig.answer(reply(status))));
  }
  rig.ask();
  const auto result = rig.answer(reply(404));
  REQUIRE(std::holds_alternative<Withdrawn>(result));
  CHECK(std::get<Withdrawn>(result).id == "aws-spot-terminate-2017-09-18T08:22:00Z");
  rig.ask();
  CHECK(std::holds_alternative<Notice>(rig.answer(notice())));
}

TEST_CASE("times out of range are no notice; a missing Date takes the documented lead") {
  Rig rig;
  rig.token();
  for (const char* time :
       {"2017-09-18T08:19:59Z", "2016-09-18T08:22:00Z", "2017-09-18T09:20:01Z", "9999-09-18T08:22:00Z"}) {
    rig.ask();
    CHECK(std::holds_alternative<std::monostate>(
        rig.answer(notice(std::string(R"({"action":"terminate","time":")") + time + "\"}"))));
  }
  CHECK(rig.source.counters().out_of_range == 4);
  rig.ask();
  const auto found = rig.answer(reply(200, kAction));
  REQUIRE(std::holds_alternative<Notice>(found));
  CHECK(std::get<Notice>(found).deadline == rig.now - 5ms + 120s);
  CHECK(std::get<Notice>(found).deadline_assumed);
}

TEST_CASE("a 401 gets a new token and the item again in the same poll") {
  Rig rig;
  rig.token();
  rig.ask();
  rig.answer(reply(404));
  rig.ask();
  const Instant before = rig.now;
  rig.answer(reply(401), 0ms);
  CHECK(rig.ask().method == "PUT");
  rig.answer(granted("T2"), 0ms);
  const HttpRequest again = rig.ask();
  CHECK(again.method == "GET");
  CHECK(again.headers.size() == 1);  // the stale token is replaced, not added to
  CHECK(again.headers.at(0).value == "T2");
  CHECK(rig.now == before);
  rig.answer(reply(401), 0ms);  // again at once: back off, do not spin
  CHECK_FALSE(rig.source.next(rig.now).send);
}

TEST_CASE("the token is renewed at half of the granted life and survives a failed renewal") {
  Rig rig;
  CHECK(rig.ask().method == "PUT");
  rig.answer(granted("T1", 10));
  const Instant got = rig.now;
  HttpRequest request = rig.ask();
  while (request.method == "GET") {
    rig.answer(reply(404));
    request = rig.ask();
  }
  CHECK(rig.now - got >= 5s);
  CHECK(rig.now - got <= 6s);
  rig.answer(reply(503));
  request = rig.ask();
  CHECK(request.method == "GET");
  CHECK(request.headers.at(0).value == "T1");
}

TEST_CASE("errors, hangs and garbage cost a back-off of 0.2 to 2 s and never the source") {
  Rig rig;
  rig.token();
  const std::vector<HttpReply> faults = {silence(),
                                         reply(500),
                                         reply(503),
                                         reply(429),
                                         reply(200, "<html>", {{"Date", kDate}}),
                                         notice("{}"),
                                         notice("[]"),
                                         notice(R"({"action":5,"time":{}})"),
                                         notice(R"({"action":"explode","time":"2017-09-18T08:22:00Z"})"),
                                         notice(R"({"action":"terminate","time":"soon"})"),
                                         reply(302),
                                         reply(403),
                                         reply(200, std::string("\0\xff{", 3))};
  for (int round = 0; round < 20; ++round) {
    for (const HttpReply& fault : faults) {
      while (rig.ask().method == "PUT")
        rig.answer(granted("T"));
      CHECK(std::holds_alternative<std::monostate>(rig.answer(fault)));
      const SourceStep step = rig.source.next(rig.now);
      CHECK_FALSE(step.send);
      CHECK(step.wake - rig.now >= 200ms);
      CHECK(step.wake - rig.now <= 2s);
    }
  }
  rig.ask();
  CHECK(std::holds_alternative<Notice>(rig.answer(notice())));
}

TEST_CASE("a PUT that hangs while the GET says 401 is the hop limit, by name") {
  Rig rig;
  for (int i = 0; i < 3; ++i) {
    CHECK(rig.ask().method == "PUT");
    rig.answer(silence(), 1s);
    const HttpRequest get = rig.ask();
    CHECK(get.method == "GET");
    CHECK(get.headers.empty());
    rig.answer(reply(401));
    CHECK(rig.source.diagnosis() == Diagnosis::HopLimit);
  }
  rig.token();
  rig.ask();
  rig.answer(reply(404));
  CHECK(rig.source.diagnosis() == Diagnosis::None);
}

TEST_CASE("where IMDSv1 is allowed a hanging PUT does not blind every poll") {
  Rig rig;
  int puts = 0, gets = 0;
  const Instant began = rig.now;
  while (rig.now < began + 60s) {
    if (rig.ask().method == "PUT") {
      ++puts;
      rig.answer(silence(), 1s);
    } else {
      ++gets;
      rig.answer(reply(404));
    }
  }
  CHECK(gets >= 50);
  CHECK(puts <= 10);
}

TEST_CASE("a token that could split a header is refused") {
  Rig rig;
  for (const std::string bad : {"a\r\nX: y", "", "a b", "caf\xc3\xa9"}) {
    while (rig.ask().method != "PUT")
      rig.answer(reply(401));
    rig.answer(granted(bad));
    CHECK(rig.ask().headers.empty());
    rig.answer(reply(401));
  }
  CHECK(rig.source.counters().token_failures == 4);
}
