#include <algorithm>
#include <iterator>

#include "dnscache/forwarder_state.h"

namespace lastlight::dns {

// Those whose patience is over get what has expired, if anything is kept; the question goes on.
std::vector<Delivery> Forwarder::State::on_time(Instant now) {
  std::vector<Delivery> out;
  while (const auto id = flights_.next_overdue(now)) {
    const Flight& flight = flights_.at(*id);
    if (flight.zone != kNoZone) outages_[flight.zone].unanswered(flight.opened, now);
    if (flight.waiters.empty()) continue;
    const auto kept = kept_for(flight, now);
    if (!kept) continue;
    const std::uint32_t zone = flight.zone;
    std::ranges::move(fan_out_kept(flights_.release(*id), *kept, zone), std::back_inserter(out));
  }
  return out;
}

Instant Forwarder::State::next_deadline() const {
  return flights_.next_due();
}

}  // namespace lastlight::dns
