// What the chains of a rule set do with one packet, as far as can be known without sending it: rules are read as
// libnftables prints them, and what is not understood (xtables' matches, named sets, limits) may match or not. So the
// verdict is certain or a perhaps. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/base/address.h"
#include "agent/doctor/facts.h"

namespace lastlight::doctor {

// A query on its way from a pod to us, or our answer: never tracked, and not on `lo`.
struct Packet {
  bool tcp = false;
  bool query = true;
  IpAddress ours;  // the destination of a query, the source of an answer
  std::uint16_t port = 53;
};

enum class Fate { Passes, Perhaps, Drops };

// Through `base`, a chain with a hook. `all`: what it may jump to.
Fate fate_in(const Chain& base, const std::vector<Chain>& all, const Packet& packet);

bool in_prefix(const IpAddress& address, const IpAddress& network, std::int64_t length);

}  // namespace lastlight::doctor
