#include "interrupt/sources/azure.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

constexpr const char* kDate = "Mon, 11 Apr 2026 22:26:28 GMT";
constexpr const char* kIn30s = "Mon, 11 Apr 2026 22:26:58 GMT";

HttpReply reply(int status, std::string body = {}, std::string date = kDate) {
  return {.status = status, .headers = {{"Date", std::move(date)}}, .body = std::move(body), .error = {}};
}

std::string event(std::string type, std::string not_before, std::string resources = R"("vmss_3")",
                  std::string status = "Scheduled", std::string id = "E1") {
  return R"({"EventId":")" + id + R"(","EventStatus":")" + status + R"(","EventType":")" + type +
         R"(","ResourceType":"VirtualMachine","Resources":[)" + resources + R"(],"NotBefore":")" + not_before +
         R"(","Description":"","EventSource":"Platform","DurationInSeconds":-1})";
}
std::string document(std::string events = {}) {
  return R"({"DocumentIncarnation":7,"Events":[)" + events + "]}";
}

struct Rig {
  explicit Rig(InterruptionConfig from = {}) : config(std::move(from)) {}

  InterruptionConfig config;
  AzureSource source{config, [] { return 1.0; }};
  Instant now{1h};
  std::optional<HttpRequest> side;  // the last request on the second lane

  HttpRequest ask() {
    for (int i = 0; i < 4; ++i) {
      SourceStep step = source.next(now);
      std::optional<HttpRequest> poll;
      for (Ask& each : step.send)
        (each.lane == 0 ? poll : side) = std::move(each.request);
      if (poll) return std::move(*poll);
      REQUIRE(step.wake != kNever);
      now = std::max(now, step.wake);
    }
    FAIL("the source stopped asking");
    return {};
  }
  SourceEvents answer(const HttpReply& what, Duration took = 5ms, unsigned lane = 0) {
    const Instant sent = now;
    now += took;
    return source.on_reply(lane, what, sent, now);
  }
  void start() {
    const HttpRequest name = ask();
    REQUIRE(name.url.find("/compute/name?") != std::string::npos);
    REQUIRE(name.headers.at(0).name == "Metadata");
    answer(reply(200, "vmss_3"));
    REQUIRE(ask().url.ends_with("/metadata/scheduledevents?api-version=2020-07-01"));
    REQUIRE(answer(reply(200, document())).empty());
  }
  SourceEvents poll(const std::string& body) {
    ask();
    return answer(reply(200, body));
  }
};

}  // namespace

TEST_CASE("every type of event has its kind and its time") {
  struct Row {
    const char* type;
    NoticeKind kind;
  };
  for (const auto& [type, kind] :
       {Row{"Preempt", NoticeKind::Preempt}, Row{"Terminate", NoticeKind::Terminate}, Row{"Reboot", NoticeKind::Reboot},
        Row{"Redeploy", NoticeKind::Redeploy}, Row{"Freeze", NoticeKind::Freeze}}) {
    Rig rig;
    rig.start();
    const SourceEvents events = rig.poll(document(event(type, kIn30s)));
    REQUIRE(events.size() == 1);
    const Notice& n = std::get<Notice>(events[0]);
    CHECK(n.kind == kind);
    CHECK(n.code == type);
    CHECK(n.id == "azure-E1");
    CHECK(n.alone);
    CHECK(n.deadline == rig.now - 5ms + 30s - 500ms);
    CHECK(rig.poll(document(event(type, kIn30s))).empty());
    CHECK(rig.poll(document(event(type, "", R"("vmss_3")", "Started"))).empty());  // its time is known already
  }
}

TEST_CASE("events of other machines are theirs") {
  Rig rig;
  rig.start();
  CHECK(rig.poll(document(event("Preempt", kIn30s, R"("vmss_33","vmss_4")"))).empty());
  CHECK(rig.poll(document(event("Preempt", kIn30s, ""))).empty());
  CHECK(rig.source.counters().others == 2);
  const SourceEvents events = rig.poll(document(event("Preempt", kIn30s, R"("vmss_4","VMSS_3")")));
  REQUIRE(events.size() == 1);
  CHECK_FALSE(std::get<Notice>(events[0]).alone);
}

TEST_CASE("an event that is first seen when it has started is happening now") {
  Rig rig;
  rig.start();
  const SourceEvents events = rig.poll(document(event("Reboot", "", R"("vmss_3")", "Started")));
  REQUIRE(events.size() == 1);
  CHECK(std::get<Notice>(events[0]).deadline == rig.now - 5ms + 30s);
  CHECK(std::get<Notice>(events[0]).deadline_assumed);
}

TEST_CASE("a postponed event is told again; one that vanishes from three documents is withdrawn") {
  Rig rig;
  rig.start();
  CHECK(rig.poll(document(event("Reboot", kIn30s))).size() == 1);
  const SourceEvents later = rig.poll(document(event("Reboot", "Mon, 11 Apr 2026 22:36:28 GMT")));
  REQUIRE(later.size() == 1);
  CHECK(std::get<Notice>(later[0]).deadline == rig.now - 5ms + 10min - 500ms);
  CHECK(rig.poll(document()).empty());
  CHECK(rig.poll(document()).empty());
  rig.ask();
  CHECK(rig.answer(reply(503)).empty());  // interrupts the row
  CHECK(rig.poll(document()).empty());
  CHECK(rig.poll(document()).empty());
  const SourceEvents gone = rig.poll(document());
  REQUIRE(gone.size() == 1);
  CHECK(std::get<Withdrawn>(gone[0]).id == "azure-E1");
}

TEST_CASE("documents and events that say nothing sane are none") {
  Rig rig;
  rig.start();
  for (const std::string& body :
       {std::string("<html>"), std::string("{}"), std::string(R"({"DocumentIncarnation":1})"), std::string("[]"),
        std::string(R"({"DocumentIncarnation":1,"Events":{}})"), document("7,null,[]"),
        document(event("Explode", kIn30s)), document(event("Preempt", "soon")), document(event("Preempt", "")),
        document(event("Preempt", kIn30s, R"("vmss_3")", "Cancelled")),
        document(event("Preempt", kIn30s, R"("vmss_3")", "Scheduled", "")),
        document(event("Preempt", "Mon, 11 Apr 9999 22:26:58 GMT")),
        document(event("Preempt", "Mon, 11 Apr 2016 22:26:58 GMT"))}) {
    CHECK(rig.poll(body).empty());
  }
  const SourceEvents events = rig.poll(document(event("Preempt", kIn30s)));
  CHECK(events.size() == 1);
}

TEST_CASE("the first call may take two minutes: it is waited for, and asked beside") {
  Rig rig;
  rig.ask();
  REQUIRE(rig.side);
  CHECK(rig.side->timeout >= 120s);
  rig.answer(reply(200, "vmss_3"));
  for (int i = 0; i < 30; ++i) {
    rig.ask();
    rig.answer({.status = 0, .headers = {}, .body = {}, .error = "timed out"}, 1s);
    CHECK(rig.source.diagnosis() == Diagnosis::Warming);
  }
  // Its answer comes first, with an event in it.
  rig.ask();
  const SourceEvents events = rig.source.on_reply(1, reply(200, document(event("Preempt", kIn30s))), rig.now, rig.now);
  CHECK(events.size() == 1);
  CHECK(rig.source.diagnosis() == Diagnosis::None);
  CHECK(rig.answer(reply(200, document(event("Preempt", kIn30s)))).empty());
}

TEST_CASE("events wait for the name: without it nothing is believed") {
  Rig rig;
  for (const HttpReply& bad : {reply(503), reply(200, ""), reply(200, "<html>"), reply(404)}) {
    CHECK(rig.ask().url.find("/compute/name?") != std::string::npos);
    CHECK(rig.answer(bad).empty());
  }
  CHECK(rig.source.on_reply(1, reply(200, document(event("Preempt", kIn30s))), rig.now, rig.now).empty());
  rig.start();
  CHECK(rig.poll(document(event("Preempt", kIn30s))).size() == 1);
}

TEST_CASE("an event is acknowledged when configured, drained for and alone, until it is taken") {
  InterruptionConfig config;
  config.azure_acknowledge = true;
  Rig rig(config);
  rig.start();
  rig.answer(reply(200, document()), 5ms, 1);  // the first call
  rig.side.reset();
  rig.poll(
      document(event("Reboot", kIn30s) + "," + event("Redeploy", kIn30s, R"("vmss_3","vmss_4")", "Scheduled", "E2")));
  rig.source.may_start("azure-E2");  // names another machine
  rig.source.may_start("azure-E9");  // unknown
  rig.poll(document(event("Reboot", kIn30s)));
  CHECK_FALSE(rig.side);
  rig.source.may_start("azure-E1");
  rig.source.may_start("azure-E1");
  rig.poll(document(event("Reboot", kIn30s)));
  REQUIRE(rig.side);
  CHECK(rig.side->method == "POST");
  CHECK(rig.side->body == R"({"StartRequests":[{"EventId":"E1"}]})");
  rig.side.reset();
  rig.answer(reply(503), 5ms, 1);
  rig.now += 3s;
  rig.ask();
  REQUIRE(rig.side);
  rig.side.reset();
  rig.answer(reply(200), 5ms, 1);
  rig.now += 3s;
  rig.source.next(rig.now);
  CHECK_FALSE(rig.side);

  Rig off;
  off.start();
  off.answer(reply(200, document()), 5ms, 1);
  off.side.reset();
  off.poll(document(event("Reboot", kIn30s)));
  off.source.may_start("azure-E1");
  off.poll(document(event("Reboot", kIn30s)));
  CHECK_FALSE(off.side);
}
