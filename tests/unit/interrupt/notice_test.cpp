#include "interrupt/notice.h"

#include <set>

#include "tests/support/catch.h"

using namespace lastlight::interrupt;

TEST_CASE("every kind and action has a name of its own") {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kNoticeKinds; ++i)
    names.insert(kind_name(static_cast<NoticeKind>(i)));
  CHECK(names.size() == kNoticeKinds);
  CHECK(kind_name(NoticeKind::LiveMigration) == "live-migration");
  names.clear();
  for (std::size_t i = 0; i < kNoticeActions; ++i)
    names.insert(action_name(static_cast<NoticeAction>(i)));
  CHECK(names.size() == kNoticeActions);
  CHECK(action_name(NoticeAction::None) == "none");
}
