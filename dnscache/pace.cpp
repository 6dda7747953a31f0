#include "dnscache/pace.h"

#include <algorithm>

namespace lastlight::dns {

Pace::Pace(std::uint32_t per_second)
    : each_(Duration(std::chrono::seconds(1)) / std::max<std::int64_t>(per_second, 1)),
      // At least one connection with its first question fits.
      depth_(each_ * std::max<std::int64_t>(per_second / 10, kTcpConnection + kTcpQuestion)) {}

bool Pace::take(std::uint32_t packets, Instant now) {
  if (ready_at(packets, now) > now) return false;
  full_at_ = std::max(full_at_, now) + time_for(packets);
  counters_.packets += packets;
  return true;
}

void Pace::spend(std::uint32_t packets, Instant now) {
  full_at_ = std::max(full_at_, now) + time_for(packets);
  counters_.metadata_packets += packets;
}

Instant Pace::ready_at(std::uint32_t packets, Instant now) const {
  return std::max(std::max(full_at_, now) + time_for(packets) - depth_, now);
}

}  // namespace lastlight::dns
