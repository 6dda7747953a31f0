// Of the node we are on: the addresses of what ends with it, and what its network card's driver says.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "agent/base/address.h"
#include "interrupt/drain.h"

namespace lastlight {

// Its own, and those of the pods that the drain knows.
std::vector<IpAddress> addresses_on_node(const std::optional<IpAddress>& node, const interrupt::Drain& drain);

// AWS's `linklocal_allowance_exceeded` of the default route's interface; 0 where the driver does not count it.
std::uint64_t linklocal_exceeded();

}  // namespace lastlight
