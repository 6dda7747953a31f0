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

}  // namespace lastlight::interrupt
