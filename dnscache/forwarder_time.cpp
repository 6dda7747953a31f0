#include <algorithm>

#include "dnscache/forwarder_state.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

namespace {

// Questions nobody asked for go out so many at a time, and so many may wait to.
constexpr std::uint32_t kWantedAtOnce = 16;
constexpr Duration kWantedPause = std::chrono::milliseconds(10);
constexpr std::size_t kMostWanted = 2048;

}  // namespace

// Those whose patience is over get what has expired, if anything is kept; the question goes on.
std::span<const Delivery> Forwarder::State::on_time(Instant now) {
  deliveries_.clear();
  while (const auto id = flights_.next_overdue(now)) {
    const Flight& flight = flights_.at(*id);
    if (flight.zone != kNoZone) outages_[flight.zone].unanswered(flight.opened, now);
    if (flight.waiters.empty()) continue;
    const auto kept = kept_for(flight, now);
    if (!kept) continue;
    fan_out_kept(flight, flights_.release(*id, now), *kept);
  }
  return deliveries_.all();
}

Instant Forwarder::State::next_deadline() const {
  return wanted_.empty() ? flights_.next_due() : std::min(flights_.next_due(), wanted_at_);
}

void Forwarder::State::want(ByteBuffer key) {
  if (wanted_.size() < kMostWanted) {
    wanted_.push_back(std::move(key));
  } else {
    ++counters_.ahead_full;
  }
}

void Forwarder::State::want_points(Cut& cut) {
  while (const auto point = cut.next_ask()) {
    Query query;
    query.flags = kRd;
    query.type = kTypeA;
    query.qclass = kClassIn;
    ByteBuffer question = *point;
    question.resize(point->size() + 4);
    query.question = question;
    const Key key(query);
    want({key.view().begin(), key.view().end()});
  }
}

std::optional<Ask> Forwarder::State::next_ask(Instant now) {
  while (!wanted_.empty() && now >= wanted_at_) {
    if (++wanted_now_ >= kWantedAtOnce) {
      wanted_now_ = 0;
      wanted_at_ = now + kWantedPause;
    }
    const ByteBuffer key = std::move(wanted_.front());
    wanted_.pop_front();
    const Query query = query_of(key);
    const auto zone = zones_.find(query.name());
    if (!zone) continue;
    if (auto asked = ahead(key, cache_.hash_of(key), *zone, query, now)) return asked;
  }
  return std::nullopt;
}

}  // namespace lastlight::dns
