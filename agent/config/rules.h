// What one key alone cannot tell: values that contradict each other, zones that overlap, an upstream that is ourselves.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "agent/config.h"

namespace lastlight {

// Would a query sent to `upstream` come back to a socket bound to `listen`? True for the same address, and for a
// loopback or this node's own address where `listen` is the wildcard.
bool reaches_listener(const Endpoint& upstream, const Endpoint& listen, const std::optional<IpAddress>& node_ip);

// Calls `problem(dotted key, message)` for each.
void check_rules(const Config& config, const std::function<void(const std::string&, const std::string&)>& problem);

// Without an address to listen on, it is the interruption half alone.
bool serves_dns(const Config& config);

}  // namespace lastlight
