// Reads and writes the two absolute times of this module: HTTP's IMF-fixdate (RFC 9110 s5.6.7) and RFC 3339. Strict,
// pure, locale-free; anything else is nullopt. The obsolete HTTP forms are not read: no metadata service sends them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agent/base/time.h"

namespace lastlight::interrupt {

std::optional<WallTime> parse_http_date(std::string_view text);
std::optional<WallTime> parse_rfc3339(std::string_view text);
std::optional<WallTime> parse_aws_date(
    std::string_view text);                 // "21 Jan 2019 09:00:43 GMT": IMF-fixdate without the day
std::string format_rfc3339(WallTime time);  // whole seconds, UTC, as metav1.Time wants it

}  // namespace lastlight::interrupt
