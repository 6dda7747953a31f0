#include "interrupt/saved_drain.h"

#include "agent/base/json.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

TEST_CASE("what is saved is read back, and nothing else is") {
  SavedDrain saved;
  saved.notice.id = "i-1 \"quoted\"";
  saved.notice.kind = NoticeKind::Preempt;
  saved.notice.action = NoticeAction::Stop;
  saved.notice.source = "gcp";
  saved.notice.deadline = Instant(2h + 120s + 7ms);
  saved.noticed = Instant(2h);
  saved.node = "node-a";
  saved.boot = "b-1";
  saved.owner = "agent";
  saved.until = "2026-01-01T00:00:00Z";
  const std::string text = to_text(saved);
  CHECK(text.find('\n') == std::string::npos);
  const auto read = read_saved_drain(text);
  REQUIRE(read);
  CHECK(to_text(*read) == text);
  CHECK(read->notice.deadline == saved.notice.deadline);
  CHECK(read->notice.kind == NoticeKind::Preempt);
  saved.mark = kube::Mark::Cordon;
  CHECK(read_saved_drain(to_text(saved))->mark == kube::Mark::Cordon);
  Json older = *parse_json(text);
  older.erase("mark");  // of an agent that knew no other
  CHECK(read_saved_drain(dump_json(older))->mark == kube::Mark::Drain);
  older["mark"] = "hole";
  CHECK_FALSE(read_saved_drain(dump_json(older)));
  for (const char* other : {"", "{}", "x", "[1]", R"({"event":"e","kind":"nothing"})"})
    CHECK_FALSE(read_saved_drain(other));
  Json broken = *parse_json(text);
  broken["deadline-ms"] = -1;
  CHECK_FALSE(read_saved_drain(dump_json(broken)));
  broken["deadline-ms"] = INT64_MAX;
  CHECK_FALSE(read_saved_drain(dump_json(broken)));
}
