#include "interrupt/notice.h"

#include <array>

namespace lastlight::interrupt {

std::string_view kind_name(NoticeKind kind) {
  static constexpr std::array<std::string_view, kNoticeKinds> kNames = {
      "spot-terminate", "spot-stop", "spot-hibernate", "preempt",   "terminate", "asg-terminate",
      "reboot",         "redeploy",  "maintenance",    "rebalance", "freeze",    "live-migration"};
  return kNames.at(static_cast<std::size_t>(kind));
}

std::string_view action_name(NoticeAction action) {
  static constexpr std::array<std::string_view, kNoticeActions> kNames = {"terminate", "stop",  "hibernate",
                                                                          "reboot",    "pause", "none"};
  return kNames.at(static_cast<std::size_t>(action));
}

std::string_view event_reason(NoticeKind kind) {
  switch (kind) {
    case NoticeKind::SpotTerminate:
    case NoticeKind::SpotStop:
    case NoticeKind::SpotHibernate:
    case NoticeKind::Preempt:
      return "SpotInterruption";
    case NoticeKind::AsgTerminate:
      return "ASGLifecycle";
    case NoticeKind::Rebalance:
      return "RebalanceRecommendation";
    case NoticeKind::Terminate:
    case NoticeKind::Reboot:
    case NoticeKind::Redeploy:
    case NoticeKind::Maintenance:
    case NoticeKind::Freeze:
    case NoticeKind::LiveMigration:
      return "ScheduledEvent";
  }
  return "UnknownInterruption";
}

}  // namespace lastlight::interrupt
