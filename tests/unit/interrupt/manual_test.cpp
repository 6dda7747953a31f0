#include "interrupt/manual.h"

#include "interrupt/saved_drain.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

TEST_CASE("every kind has a name that means it, and spot means the usual one") {
  for (std::size_t i = 0; i < kNoticeKinds; ++i) {
    const auto kind = static_cast<NoticeKind>(i);
    CHECK(kind_of(kind_name(kind)) == kind);
    CHECK(kind_names().find(kind_name(kind)) != std::string::npos);
  }
  CHECK(kind_of("spot") == NoticeKind::SpotTerminate);
  CHECK_FALSE(kind_of(""));
  CHECK_FALSE(kind_of("Spot"));
}

TEST_CASE("a person's notice is one of its own, and is saved like any other") {
  const Notice notice = manual_notice(NoticeKind::SpotStop, 90s, Instant{1h}, WallTime{1700000000000ms});
  CHECK(notice.source == "manual");
  CHECK(notice.action == NoticeAction::Stop);
  CHECK(notice.deadline == Instant{1h} + 90s);
  CHECK(notice.id != manual_notice(NoticeKind::SpotStop, 90s, Instant{1h}, WallTime{1700000000001ms}).id);
  const SavedDrain saved{.notice = notice, .noticed = Instant{1h}, .node = "n", .boot = "b", .owner = "standalone"};
  const auto read = read_saved_drain(to_text(saved));
  REQUIRE(read);
  CHECK(read->notice.source == kManual);
  CHECK(read->owner == "standalone");
}
