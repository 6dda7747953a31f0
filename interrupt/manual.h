// A person's notice: what a metadata service would say, said by hand. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "interrupt/notice.h"

namespace lastlight::interrupt {

inline constexpr std::string_view kManual = "manual";  // its source
// The shortest and the longest time to its end that can be asked for.
inline constexpr Duration kShortestManual = std::chrono::seconds(1);
inline constexpr Duration kLongestManual = std::chrono::hours(24);

// kind_name(), or "spot" for what is meant most often; nullopt for anything else.
std::optional<NoticeKind> kind_of(std::string_view name);
std::string kind_names();  // all of them, for people: "spot, spot-terminate, ..."
// What the cloud does to the machine after such a notice.
NoticeAction usual_action(NoticeKind kind);

// `wall` makes its id another than that of any before.
Notice manual_notice(NoticeKind kind, Duration in, Instant now, WallTime wall);

}  // namespace lastlight::interrupt
