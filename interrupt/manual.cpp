#include "interrupt/manual.h"

namespace lastlight::interrupt {

namespace {

constexpr std::string_view kSpot = "spot";

}  // namespace

std::optional<NoticeKind> kind_of(std::string_view name) {
  if (name == kSpot) return NoticeKind::SpotTerminate;
  for (std::size_t i = 0; i < kNoticeKinds; ++i) {
    const auto kind = static_cast<NoticeKind>(i);
    if (kind_name(kind) == name) return kind;
  }
  return std::nullopt;
}

std::string kind_names() {
  std::string out(kSpot);
  for (std::size_t i = 0; i < kNoticeKinds; ++i)
    out += ", " + std::string(kind_name(static_cast<NoticeKind>(i)));
  return out;
}

NoticeAction usual_action(NoticeKind kind) {
  switch (kind) {
    case NoticeKind::SpotTerminate:
    case NoticeKind::Preempt:
    case NoticeKind::Terminate:
    case NoticeKind::AsgTerminate:
    case NoticeKind::Redeploy:
      return NoticeAction::Terminate;
    case NoticeKind::SpotStop:
    case NoticeKind::Maintenance:
      return NoticeAction::Stop;
    case NoticeKind::SpotHibernate:
      return NoticeAction::Hibernate;
    case NoticeKind::Reboot:
      return NoticeAction::Reboot;
    case NoticeKind::Freeze:
      return NoticeAction::Pause;
    case NoticeKind::Rebalance:
    case NoticeKind::LiveMigration:
      return NoticeAction::None;
  }
  return NoticeAction::None;
}

Notice manual_notice(NoticeKind kind, Duration in, Instant now, WallTime wall) {
  return {.kind = kind,
          .action = usual_action(kind),
          .deadline = now + in,
          .id = std::string(kManual) + "-" + std::to_string(wall.time_since_epoch().count()),
          .source = std::string(kManual),
          .heard = now,
          .alone = true};
}

}  // namespace lastlight::interrupt
