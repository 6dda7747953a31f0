#include "dnscache/flights.h"

#include <algorithm>
#include <utility>

namespace lastlight::dns {

Flights::Flights(const Limits& limits, std::uint64_t hash_seed)
    : limits_(limits), admission_(limits.per_client, limits.flights, hash_seed) {}

std::optional<FlightId> Flights::find(ByteView key, std::uint64_t hash) const {
  const auto slot = by_key_.find(hash, [&](PlaceTable::Place at) {
    const Flight& flight = flights_.in(at);
    return flight.hash == hash && std::ranges::equal(flight.key, key);
  });
  if (slot == PlaceTable::kNone) return std::nullopt;
  return flights_.id_in(slot);
}

std::expected<void, Flights::Full> Flights::join(FlightId id, const Query& query, const Client& client, Instant now) {
  Flight& flight = *flights_.find(id);
  if (flight.waiters.size() >= limits_.waiters || waiting_ >= kWaitersPerFlight * limits_.flights) {
    return std::unexpected(Full::Waiters);
  }
  Admission::Place* place = admission_.join(client.peer.address);
  if (place == nullptr) return std::unexpected(Full::Client);
  wait(flight, query, client, *place, now);
  return {};
}

std::expected<FlightId, Flights::Full> Flights::open(ByteView key, std::uint64_t hash, std::uint32_t zone,
                                                     const Query& query, const Client& client, Instant now,
                                                     Duration patience) {
  if (flights_.size() >= limits_.flights) return std::unexpected(Full::Flights);
  Admission::Place* place = admission_.take(client.peer.address, flights_.size());
  if (place == nullptr) return std::unexpected(Full::Client);
  const FlightId id = take_off(key, hash, zone, now, patience);
  wait(*flights_.find(id), query, client, *place, now);
  return id;
}

std::expected<FlightId, Flights::Full> Flights::open_alone(ByteView key, std::uint64_t hash, std::uint32_t zone,
                                                           Instant now, Duration patience) {
  if (flights_.size() >= limits_.flights) return std::unexpected(Full::Flights);
  return take_off(key, hash, zone, now, patience);
}

FlightId Flights::take_off(ByteView key, std::uint64_t hash, std::uint32_t zone, Instant now, Duration patience) {
  const FlightId id = places_.issue();
  Flight& flight = flights_.put(id);
  flight.key.assign(key.begin(), key.end());
  flight.hash = hash;
  flight.zone = zone;
  flight.opened = now;
  flight.due = now + patience;
  flight.overdue = false;
  if (!key.empty()) {
    by_key_.insert(hash, static_cast<PlaceTable::Place>(slot_of(id)));
    due_.add(flight.due, id);
  }
  return id;
}

void Flights::settle_due() {
  due_.settle(flights_.size(), [this](Instant, FlightId id) {
    const Flight* flight = flights_.find(id);
    return flight != nullptr && !flight->overdue;
  });
}

void Flights::wait(Flight& flight, const Query& query, const Client& client, Admission::Place& place, Instant now) {
  flight.waiters.add(query, client, place, now);
  ++waiting_;
}

void Flights::leave(const Flight& flight, Instant now) {
  for (const Waiter& waiter : flight.waiters) {
    admission_.leave(*waiter.place);
    waits_.add(now - waiter.since);
  }
  waiting_ -= flight.waiters.size();
}

const Flight* Flights::close(FlightId id, Instant now) {
  Flight* flight = flights_.find(id);
  if (flight == nullptr) return nullptr;
  closed_.waiters.clear();
  std::swap(closed_, *flight);
  if (!closed_.key.empty()) by_key_.erase(closed_.hash, static_cast<PlaceTable::Place>(slot_of(id)));
  flights_.erase(id);
  places_.give_back(id);
  settle_due();
  leave(closed_, now);
  return &closed_;
}

std::vector<Flight> Flights::close_all(Instant now) {
  std::vector<Flight> out;
  out.reserve(flights_.size());
  flights_.for_each([&](std::size_t slot) { out.push_back(*close(flights_.id_in(slot), now)); });
  return out;
}

std::optional<FlightId> Flights::next_overdue(Instant now) {
  if (now < due_.next()) return std::nullopt;
  const FlightId id = due_.first();
  flights_.find(id)->overdue = true;
  settle_due();
  return id;
}

Waiters Flights::release(FlightId id, Instant now) {
  Flight& flight = *flights_.find(id);
  leave(flight, now);
  return std::exchange(flight.waiters, {});
}

void Flights::set_limits(const Limits& limits) {
  limits_ = limits;
  admission_.set_bounds(limits.per_client, limits.flights);
}

void Flights::rezone(const std::function<std::uint32_t(const Flight&)>& zone_of) {
  flights_.for_each([&](std::size_t slot) { flights_.in(slot).zone = zone_of(flights_.in(slot)); });
}

}  // namespace lastlight::dns
