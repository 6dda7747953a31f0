// What a network interface's driver counts, by name, as `ethtool -S` shows it (ETHTOOL_GSSET_INFO, GSTRINGS, GSTATS: no
// right is needed). Blocking, some microseconds: for scrapes, not for queries.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lastlight::io {

// That of the IPv4 default route, as /proc/net/route has it; empty: none.
std::string default_interface(std::string_view routes);

// None where there is no such interface, or its driver does not count that.
std::optional<std::uint64_t> driver_statistic(const std::string& interface, std::string_view name);

}  // namespace lastlight::io
