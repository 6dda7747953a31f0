#include "interrupt/sources/gcp.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

HttpReply value(std::string text, std::string etag) {
  return {.status = 200,
          .headers = {{"Metadata-Flavor", "Google"}, {"ETag", std::move(etag)}},
          .body = std::move(text),
          .error = {}};
}
HttpReply failure(int status, std::string body = {}) {
  return {.status = status, .headers = {}, .body = std::move(body), .error = {}};
}

struct Rig {
  InterruptionConfig config;
  GcpSource source{config, [] { return 1.0; }};
  Instant now{1h};

  // This lane's next request.
  HttpRequest ask(unsigned lane = 0) {
    for (int i = 0; i < 4; ++i) {
      SourceStep step = source.next(now);
      for (Ask& each : step.send) {
        if (each.lane == lane) return std::move(each.request);
      }
      REQUIRE(step.wake != kNever);
      now = std::max(now, step.wake);
    }
    FAIL("the source stopped asking");
    return {};
  }
  SourceEvents answer(const HttpReply& reply, Duration took = 5ms, unsigned lane = 0) {
    const Instant sent = now;
    now += took;
    return source.on_reply(lane, reply, sent, now);
  }
};

}  // namespace

TEST_CASE("the value is asked once, then waited for with the ETag of the reply before, without a pause") {
  Rig rig;
  const HttpRequest first = rig.ask();
  CHECK(first.url == "http://169.254.169.254/computeMetadata/v1/instance/preempted");
  CHECK(first.headers.at(0).name == "Metadata-Flavor");
  CHECK(rig.answer(value("FALSE", "abc1")).empty());
  for (int i = 0; i < 3; ++i) {
    const Instant before = rig.now;
    const HttpRequest hanging = rig.ask();
    CHECK(rig.now == before);
    CHECK(hanging.url.ends_with("?wait_for_change=true&timeout_sec=5&last_etag=abc1"));
    CHECK(hanging.timeout == 6s);
    CHECK(rig.answer(value("FALSE", "abc1"), 5s).empty());
  }
  rig.ask();
  const SourceEvents events = rig.answer(value("TRUE\n", "def2"), 1234ms);
  REQUIRE(events.size() == 1);
  const Notice& n = std::get<Notice>(events[0]);
  CHECK(n.kind == NoticeKind::Preempt);
  CHECK(n.deadline == rig.now + 30s);
  CHECK(n.deadline_assumed);
  rig.ask();
  CHECK(rig.answer(value("TRUE", "def2"), 5s).empty());
}

TEST_CASE("where a longer preemption notice is configured, that is what is left") {
  InterruptionConfig config;
  config.gcp_preemption_window = 120s;
  Rig rig{.config = config};
  rig.ask();
  CHECK(rig.answer(value("FALSE", "a1")).empty());
  rig.ask();
  const SourceEvents events = rig.answer(value("TRUE", "b2"), 3s);
  REQUIRE(events.size() == 1);
  CHECK(std::get<Notice>(events[0]).deadline == rig.now + 120s);
  CHECK(std::get<Notice>(events[0]).deadline_assumed);
}

TEST_CASE("a server that does not wait is not asked in a loop") {
  Rig rig;
  for (int i = 0; i < 5; ++i) {
    const Instant before = rig.now;
    rig.ask();
    CHECK((i < 2 || rig.now - before >= 900ms));
    rig.answer(value("FALSE", "same"), 1ms);
  }
  Rig no_etag;
  for (int i = 0; i < 5; ++i) {
    const Instant before = no_etag.now;
    CHECK(no_etag.ask().url.ends_with("/preempted"));
    CHECK((i == 0 || no_etag.now - before >= 900ms));
    no_etag.answer(value("FALSE", "a&b=c"), 1ms);
  }
}

TEST_CASE("maintenance: a live migration and a termination are told apart") {
  Rig rig;
  CHECK(rig.ask(1).url.ends_with("/maintenance-event"));
  CHECK(rig.answer(value("NONE", "a"), 5ms, 1).empty());
  rig.ask(1);
  SourceEvents events = rig.answer(value("MIGRATE_ON_HOST_MAINTENANCE", "b"), 3s, 1);
  REQUIRE(events.size() == 1);
  CHECK(std::get<Notice>(events[0]).kind == NoticeKind::LiveMigration);
  CHECK(std::get<Notice>(events[0]).deadline == rig.now + 60s);
  rig.ask(1);
  events = rig.answer(value("TERMINATE_ON_HOST_MAINTENANCE", "c"), 3s, 1);
  REQUIRE(events.size() == 1);
  CHECK(std::get<Notice>(events[0]).kind == NoticeKind::Maintenance);
}

TEST_CASE("a value that is cleared is asked for again before it is believed") {
  Rig rig;
  rig.ask();
  CHECK(rig.answer(value("TRUE", "a")).size() == 1);
  rig.ask();
  CHECK(rig.answer(value("FALSE", "b"), 1s).empty());
  CHECK(rig.ask().url.ends_with("/preempted"));
  CHECK(rig.answer(value("FALSE", "b")).empty());
  CHECK(rig.ask().url.ends_with("/preempted"));
  const SourceEvents events = rig.answer(value("FALSE", "b"));
  REQUIRE(events.size() == 1);
  CHECK(std::get<Withdrawn>(events[0]).id == "gcp-preempted");
  CHECK(rig.ask().url.find("last_etag=b") != std::string::npos);
}

TEST_CASE("faults of GCP's service cost a back-off, and the value is asked for afterwards, not waited for") {
  Rig rig;
  rig.ask();
  rig.answer(value("FALSE", "a"));
  HttpReply foreign = value("TRUE", "x");
  foreign.headers = {{"ETag", "x"}};  // whoever that is, it is not Google
  for (int round = 0; round < 10; ++round) {
    for (const HttpReply& fault : {failure(0), failure(401), failure(403), failure(429), failure(503), failure(404),
                                   failure(200, "<html>"), value("MAYBE", "y"), value("", "z"), foreign}) {
      const std::string url = rig.ask().url;
      CHECK(rig.answer(fault).empty());
      const Instant failed = rig.now;
      CHECK(rig.ask().url.ends_with("/preempted"));
      CHECK(rig.now - failed >= 200ms);
      CHECK(rig.now - failed <= 2s);
      CHECK(rig.answer(value("FALSE", "a")).empty());
    }
  }
  rig.ask();
  CHECK(rig.answer(value("TRUE", "t")).size() == 1);
}
