#include "interrupt/sources/aws.h"

#include <map>
#include <set>

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

using SourceResult = std::variant<std::monostate, Notice, Withdrawn>;

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
  explicit Rig(InterruptionConfig from = {}) : config(std::move(from)) {}

  InterruptionConfig config;
  AwsSource source{config, [] { return 1.0; }};
  Instant now{1h};
  // The slow lane: what each item answers, and when it was asked. Answered at once, 404 where nothing is set.
  std::map<std::string, HttpReply> slow;
  std::vector<std::pair<Instant, std::string>> slow_asked;
  std::vector<SourceEvent> slow_events;

  std::optional<HttpRequest> step(Instant* wake = nullptr) {
    SourceStep out = source.next(now);
    std::optional<HttpRequest> spot;
    for (Ask& ask : out.send) {
      if (ask.lane == 0) {
        spot = std::move(ask.request);
        continue;
      }
      const std::string item = ask.request.url.substr(ask.request.url.rfind('/') + 1);
      slow_asked.emplace_back(now, item);
      const auto found = slow.find(item);
      for (SourceEvent& event : source.on_reply(ask.lane, found == slow.end() ? reply(404) : found->second, now, now))
        slow_events.push_back(std::move(event));
    }
    const bool replied = out.send.size() > (spot ? 1 : 0);  // which may have moved the next wake
    if (wake != nullptr) *wake = replied ? now : out.wake;
    return spot;
  }

  // Runs to the spot lane's next request.
  HttpRequest ask() {
    for (int i = 0; i < 30; ++i) {
      Instant wake;
      if (auto request = step(&wake)) return std::move(*request);
      if (wake <= now) continue;
      REQUIRE(wake <= now + std::max(config.backoff_max, config.poll));
      now = wake;
    }
    FAIL("the source stopped asking");
    return {};
  }
  SourceResult answer(const HttpReply& r, Duration took = 5ms) {
    const Instant sent = now;
    now += took;
    SourceEvents events = source.on_reply(0, r, sent, now);
    REQUIRE(events.size() <= 1);
    if (events.empty()) return {};
    if (const auto* notice = std::get_if<Notice>(&events[0])) return *notice;
    return std::get<Withdrawn>(events[0]);
  }
  void token() {
    REQUIRE(ask().method == "PUT");
    answer(granted("T1"));
  }
  // A minute of nothing on the spot lane.
  void quiet(Duration time = 60s) {
    for (const Instant end = now + time; now < end;) {
      ask();
      answer(reply(404));
    }
  }
};

HttpReply json(std::string body, std::string date = kDate) {
  return reply(200, std::move(body), {{"Date", std::move(date)}});
}

std::string scheduled(std::string code, std::string not_before, std::string state = "active", std::string id = "e1") {
  return R"([{"NotBefore":")" + not_before + R"(","Code":")" + code + R"(","Description":"text","EventId":")" + id +
         R"(","State":")" + state + R"("}])";
}

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
    CHECK_FALSE(rig.step());  // one at a time
    CHECK(std::holds_alternative<std::monostate>(rig.answer(reply(404))));
    CHECK(rig.source.last_success() == rig.now);
  }
}

TEST_CASE("a notice's deadline is the service's own time left, announced once") {
  Rig rig;
  rig.token();
  rig.ask();
  const auto found = rig.answer(notice());
  REQUIRE(std::holds_alternative<Notice>(found));
  const Notice& n = std::get<Notice>(found);
  CHECK(n.deadline == rig.now - 5ms + 120s - 500ms);  // a Date is the second that it lies in
  CHECK(n.kind == NoticeKind::SpotTerminate);
  CHECK(n.action == NoticeAction::Terminate);
  CHECK(n.heard == rig.now);
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
  for (const char* time : {"2017-09-18T07:19:59Z", "2016-09-18T08:22:00Z", "2017-09-18T09:20:01Z",
                           "9999-09-18T08:22:00Z", "0000-01-01T00:00:00Z"}) {
    rig.ask();
    CHECK(std::holds_alternative<std::monostate>(
        rig.answer(notice(std::string(R"({"action":"terminate","time":")") + time + "\"}"))));
  }
  CHECK(rig.source.counters().out_of_range == 5);
  rig.ask();
  const auto found = rig.answer(reply(200, kAction));
  REQUIRE(std::holds_alternative<Notice>(found));
  CHECK(std::get<Notice>(found).deadline == rig.now - 5ms + 120s);
  CHECK(std::get<Notice>(found).deadline_assumed);
}

TEST_CASE("a time that has just passed is believed on first sight: hibernation comes without lead time") {
  Rig rig;
  rig.token();
  rig.ask();
  const auto found = rig.answer(notice(R"({"action":"hibernate","time":"2017-09-18T08:19:59Z"})"));
  REQUIRE(std::holds_alternative<Notice>(found));
  CHECK(std::get<Notice>(found).kind == NoticeKind::SpotHibernate);
  CHECK(std::get<Notice>(found).deadline == rig.now - 5ms + 30s);
  CHECK(std::get<Notice>(found).deadline_assumed);
  rig.ask();
  CHECK(std::holds_alternative<std::monostate>(
      rig.answer(notice(R"({"action":"hibernate","time":"2017-09-18T08:19:59Z"})"))));
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
  CHECK_FALSE(rig.step());
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
      const Instant failed = rig.now;
      CHECK_FALSE(rig.step());
      rig.ask();
      CHECK(rig.now - failed >= 200ms);
      CHECK(rig.now - failed <= 2s);
      rig.answer(reply(404));
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
  InterruptionConfig v1;
  v1.imds_v1 = true;
  Rig rig(v1);
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

TEST_CASE("where IMDSv1 is not allowed nothing is believed without a token, and why is said") {
  Rig rig;
  for (int i = 0; i < 3; ++i) {
    CHECK(rig.ask().method == "PUT");
    rig.answer(silence(), 1s);
    CHECK(rig.ask().method == "GET");
    CHECK(std::holds_alternative<std::monostate>(rig.answer(notice())));
    CHECK(rig.source.diagnosis() == Diagnosis::V1Only);
  }
  CHECK(rig.slow_asked.empty());
  rig.token();
  rig.ask();
  CHECK(std::holds_alternative<Notice>(rig.answer(notice())));
  CHECK(rig.source.diagnosis() == Diagnosis::None);
}

TEST_CASE("the other protocol's address is asked while nobody answers at this one") {
  Rig rig;
  std::set<std::string> hosts;
  for (int i = 0; i < 12; ++i) {
    hosts.insert(rig.ask().url.substr(0, 24));
    rig.answer(silence(), 1s);
  }
  CHECK(hosts == std::set<std::string>{"http://169.254.169.254/l", "http://[fd00:ec2::254]/l"});
  while (rig.ask().url.find("[fd00:ec2::254]") == std::string::npos)
    rig.answer(silence(), 1s);
  rig.answer(reply(401));
  for (int i = 0; i < 10; ++i) {
    const HttpRequest request = rig.ask();
    CHECK(request.url.find("[fd00:ec2::254]") != std::string::npos);
    rig.answer(request.method == "PUT" ? granted("T") : reply(404));
  }
}

TEST_CASE("the slow items are asked in turn, each once in poll-slow, never holding up the spot notice") {
  Rig rig;
  rig.token();
  rig.quiet(201s);
  std::map<std::string, int> asked;
  for (const auto& [at, item] : rig.slow_asked)
    ++asked[item];
  CHECK(asked == std::map<std::string, int>{{"rebalance", 14}, {"scheduled", 13}, {"target-lifecycle-state", 13}});
  for (std::size_t i = 1; i < rig.slow_asked.size(); ++i)
    CHECK(rig.slow_asked[i].first - rig.slow_asked[i - 1].first >= 5s);

  // Its request hangs: the spot lane goes on.
  std::optional<unsigned> hanging;
  for (int i = 0; i < 60 && !hanging; ++i) {
    SourceStep step = rig.source.next(rig.now);
    for (const Ask& ask : step.send) {
      if (ask.lane == 1) hanging = ask.lane;
      if (ask.lane == 0) rig.answer(reply(404), 0ms);
    }
    if (step.send.empty()) rig.now = step.wake;
  }
  REQUIRE(hanging);
  for (int i = 0; i < 5; ++i) {
    const Instant before = rig.now;
    rig.ask();
    CHECK(rig.now - before <= 1s);
    rig.answer(reply(404), 0ms);
  }
}

TEST_CASE("a slow item goes out when a spot poll has ended, on no wake-up of its own") {
  Rig rig;
  rig.token();
  std::size_t asked = 0;
  for (int i = 0; i < 60; ++i) {
    Instant wake;
    const bool polled = rig.step(&wake).has_value();
    if (polled) {
      CHECK(rig.slow_asked.size() == asked);  // not beside it: that would take a second connection
      rig.answer(reply(404));
      rig.step(&wake);
      asked = rig.slow_asked.size();
      if (wake == rig.now) rig.step(&wake);
    } else {
      CHECK(rig.slow_asked.size() == asked);
    }
    rig.now = wake;
  }
  CHECK(asked >= 10);
}

TEST_CASE("slow items do not wait for a spot poll that is far away or failing") {
  InterruptionConfig seldom;
  seldom.poll = 1min;
  Rig rig(seldom);
  rig.token();
  rig.quiet(200s);
  CHECK(rig.slow_asked.size() >= 38);  // one each five seconds
  Rig failing;
  failing.token();
  for (const Instant end = failing.now + 200s; failing.now < end;) {
    failing.ask();
    failing.answer(reply(503), 900ms);
  }
  CHECK(failing.slow_asked.size() >= 30);
}

TEST_CASE("a rebalance recommendation is told once, without a time") {
  Rig rig;
  rig.token();
  rig.slow["rebalance"] = json(R"({"noticeTime":"2017-09-18T08:00:00Z"})");
  rig.quiet(120s);
  REQUIRE(rig.slow_events.size() == 1);
  const Notice& n = std::get<Notice>(rig.slow_events[0]);
  CHECK(n.kind == NoticeKind::Rebalance);
  CHECK(n.deadline == kNever);
  for (const char* bad : {"{}", "[]", "<html>", R"({"noticeTime":"soon"})"}) {
    rig.slow["rebalance"] = json(bad);
    rig.quiet(120s);
  }
  CHECK(rig.slow_events.size() == 1);
  CHECK(rig.source.counters().unreadable > 20);
}

TEST_CASE("an Auto Scaling group that lets go names no time, so a window is assumed") {
  Rig rig;
  rig.token();
  for (const char* state : {"InService", "Standby", "Detached", "Warmed:Running", "<html>Terminated</html>"}) {
    rig.slow["target-lifecycle-state"] = reply(200, state);
    rig.quiet(40s);
  }
  CHECK(rig.slow_events.empty());
  rig.slow["target-lifecycle-state"] = reply(200, "Terminated\n");
  rig.quiet(120s);
  REQUIRE(rig.slow_events.size() == 1);
  const Notice& n = std::get<Notice>(rig.slow_events[0]);
  CHECK(n.kind == NoticeKind::AsgTerminate);
  CHECK(n.deadline == n.heard + 120s);
  CHECK(n.deadline_assumed);
}

TEST_CASE("a scheduled event is told with its time, and withdrawn when history calls it over") {
  Rig rig;
  rig.token();
  rig.slow["scheduled"] = json(scheduled("instance-retirement", "18 Sep 2017 20:20:00 GMT"));
  rig.quiet(120s);
  REQUIRE(rig.slow_events.size() == 1);
  const Notice n = std::get<Notice>(rig.slow_events[0]);
  CHECK(n.kind == NoticeKind::Maintenance);
  CHECK(n.code == "instance-retirement");
  CHECK(n.deadline == n.heard + 12h - 500ms);
  rig.slow["scheduled"] = json(scheduled("instance-retirement", "18 Sep 2017 22:20:00 GMT"));  // postponed
  rig.quiet(60s);
  REQUIRE(rig.slow_events.size() == 2);
  CHECK(std::get<Notice>(rig.slow_events[1]).id == n.id);
  CHECK(std::get<Notice>(rig.slow_events[1]).deadline > n.deadline);

  SECTION("cancelled in the history, though the list still has it") {
    rig.slow["history"] = json(scheduled("instance-retirement", "18 Sep 2017 22:20:00 GMT", "canceled"));
    rig.quiet(120s);
    REQUIRE(rig.slow_events.size() == 3);
    CHECK(std::get<Withdrawn>(rig.slow_events[2]).id == n.id);
    CHECK(std::get<Withdrawn>(rig.slow_events[2]).why == "canceled");
  }
  SECTION("completed in the list") {
    rig.slow["scheduled"] = json(scheduled("instance-retirement", "18 Sep 2017 22:20:00 GMT", "completed"));
    rig.quiet(120s);
    REQUIRE(rig.slow_events.size() == 3);
    CHECK(std::get<Withdrawn>(rig.slow_events[2]).why == "completed");
  }
  SECTION("absent from three lists in a row, errors apart") {
    rig.slow["scheduled"] = reply(503);
    rig.quiet(120s);
    CHECK(rig.slow_events.size() == 2);
    rig.slow["scheduled"] = json("[]");
    rig.quiet(100s);
    REQUIRE(rig.slow_events.size() == 3);
    CHECK(std::get<Withdrawn>(rig.slow_events[2]).why == "absent");
  }
}

TEST_CASE("scheduled events that say nothing sane are none") {
  Rig rig;
  rig.token();
  for (const std::string& body :
       {scheduled("instance-stop", "18 Sep 9999 20:20:00 GMT"), scheduled("instance-stop", "18 Sep 2016 20:20:00 GMT"),
        scheduled("instance-stop", "soon"), scheduled("", "18 Sep 2017 20:20:00 GMT"),
        scheduled("instance-stop", "18 Sep 2017 20:20:00 GMT", "planned"),
        scheduled("instance-stop", "18 Sep 2017 20:20:00 GMT", "active", ""), std::string("[7,null,[]]"),
        std::string("{}"), std::string("<html>")}) {
    rig.slow["scheduled"] = json(body);
    rig.quiet(60s);
  }
  rig.slow["scheduled"] =
      reply(200, scheduled("instance-stop", "18 Sep 2017 20:20:00 GMT"));  // no Date: how far is it?
  rig.quiet(60s);
  CHECK(rig.slow_events.empty());
  rig.slow["scheduled"] = json(scheduled("system-reboot", "18 Sep 2017 20:20:00 GMT"));
  rig.quiet(60s);
  REQUIRE(rig.slow_events.size() == 1);
  CHECK(std::get<Notice>(rig.slow_events[0]).kind == NoticeKind::Reboot);
}

TEST_CASE("what stands announced is bounded") {
  Rig rig;
  rig.token();
  std::string many = "[";
  for (int i = 0; i < 100; ++i)
    many += (i == 0 ? "" : ",") + scheduled("instance-stop", "18 Sep 2017 20:20:00 GMT", "active", std::to_string(i))
                                      .substr(1, std::string::npos);
  for (std::size_t at; (at = many.find("],")) != std::string::npos;)
    many.erase(at, 1);
  rig.slow["scheduled"] = json(many);
  rig.quiet(60s);
  CHECK(rig.slow_events.size() == Announced::kMax);
  CHECK(rig.source.counters().over_bound > 0);
}
