#include "dnscache/flights.h"

#include <utility>

namespace lastlight::dns {

namespace {

std::string_view as_text(ByteView key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

}  // namespace

std::size_t Flights::Hash::operator()(std::string_view key) const {
  return hash_octets({reinterpret_cast<const std::uint8_t*>(key.data()), key.size()}, seed);
}

Flights::Flights(const Limits& limits, std::uint64_t hash_seed)
    : limits_(limits), admission_(limits.per_client, limits.flights, hash_seed ^ 1), by_key_(16, Hash{hash_seed}) {}

std::optional<FlightId> Flights::find(ByteView key) const {
  const auto found = by_key_.find(as_text(key));
  if (found == by_key_.end()) return std::nullopt;
  return found->second;
}

std::expected<void, Flights::Full> Flights::join(FlightId id, const Query& query, const Client& client, Instant now) {
  Flight& flight = flights_.at(id);
  if (flight.waiters.size() >= limits_.waiters || waiting_ >= kWaitersPerFlight * limits_.flights) {
    return std::unexpected(Full::Waiters);
  }
  if (!admission_.may_join(client.peer.address)) return std::unexpected(Full::Client);
  wait(flight, query, client, now);
  return {};
}

std::expected<FlightId, Flights::Full> Flights::open(ByteView key, std::uint32_t zone, const Query& query,
                                                     const Client& client, Instant now, Duration patience) {
  if (flights_.size() < limits_.flights && !admission_.may_take(client.peer.address, flights_.size())) {
    return std::unexpected(Full::Client);
  }
  const auto id = open_alone(key, zone, now, patience);
  if (id) wait(flights_.at(*id), query, client, now);
  return id;
}

std::expected<FlightId, Flights::Full> Flights::open_alone(ByteView key, std::uint32_t zone, Instant now,
                                                           Duration patience) {
  if (flights_.size() >= limits_.flights) return std::unexpected(Full::Flights);
  const FlightId id = ++last_;
  Flight& flight = flights_[id];
  flight.key.assign(key.begin(), key.end());
  flight.zone = zone;
  flight.opened = now;
  flight.due = now + patience;
  if (!key.empty()) {
    by_key_.emplace(as_text(key), id);
    due_.emplace_hint(due_.end(), flight.due, id);  // most are the latest yet
  }
  return id;
}

void Flights::wait(Flight& flight, const Query& query, const Client& client, Instant now) {
  flight.waiters.emplace_back(query, client, now);
  admission_.waits(client.peer.address);
  ++waiting_;
}

void Flights::leave(const Flight& flight, Instant now) {
  for (const Waiter& waiter : flight.waiters) {
    admission_.leaves(waiter.to.peer.address);
    waits_.add(now - waiter.since);
  }
  waiting_ -= flight.waiters.size();
}

std::optional<Flight> Flights::close(FlightId id, Instant now) {
  auto node = flights_.extract(id);
  if (node.empty()) return std::nullopt;
  Flight flight = std::move(node.mapped());
  if (const auto found = by_key_.find(as_text(flight.key)); found != by_key_.end()) by_key_.erase(found);
  due_.erase({flight.due, id});
  leave(flight, now);
  return flight;
}

std::vector<Flight> Flights::close_all(Instant now) {
  std::vector<Flight> out;
  out.reserve(flights_.size());
  while (!flights_.empty())
    out.push_back(std::move(*close(flights_.begin()->first, now)));
  return out;
}

std::optional<FlightId> Flights::next_overdue(Instant now) {
  if (due_.empty() || now < due_.begin()->first) return std::nullopt;
  const FlightId id = due_.begin()->second;
  due_.erase(due_.begin());
  flights_.at(id).overdue = true;
  return id;
}

std::vector<Waiter> Flights::release(FlightId id, Instant now) {
  Flight& flight = flights_.at(id);
  leave(flight, now);
  return std::exchange(flight.waiters, {});
}

void Flights::set_limits(const Limits& limits) {
  limits_ = limits;
  admission_.set_bounds(limits.per_client, limits.flights);
}

void Flights::rezone(const std::function<std::uint32_t(const Flight&)>& zone_of) {
  for (auto& [id, flight] : flights_)
    flight.zone = zone_of(flight);
}

}  // namespace lastlight::dns
