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

Flights::Flights(std::uint32_t max_flights, std::uint32_t max_waiters, std::uint64_t hash_seed)
    : max_flights_(max_flights), max_waiters_(max_waiters), by_key_(16, Hash{hash_seed}) {}

Flights::Joined Flights::join(ByteView key, const Query& query, const Client& client) {
  const auto found = by_key_.find(as_text(key));
  if (found == by_key_.end()) return Joined::NoFlight;
  Flight& flight = flights_.at(found->second);
  if (flight.waiters.size() >= max_waiters_ || waiting_ >= kWaitersPerFlight * max_flights_) return Joined::Full;
  flight.waiters.emplace_back(query, client);
  ++waiting_;
  return Joined::Yes;
}

std::optional<FlightId> Flights::open(ByteView key, std::uint32_t zone, const Query& query, const Client& client) {
  if (flights_.size() >= max_flights_) return std::nullopt;
  const FlightId id = ++last_;
  Flight& flight = flights_[id];
  flight.key.assign(key.begin(), key.end());
  flight.zone = zone;
  flight.waiters.emplace_back(query, client);
  ++waiting_;
  if (!key.empty()) by_key_.emplace(as_text(key), id);
  return id;
}

std::optional<Flight> Flights::close(FlightId id) {
  auto node = flights_.extract(id);
  if (node.empty()) return std::nullopt;
  Flight flight = std::move(node.mapped());
  if (const auto found = by_key_.find(as_text(flight.key)); found != by_key_.end()) by_key_.erase(found);
  waiting_ -= flight.waiters.size();
  return flight;
}

std::vector<Flight> Flights::close_all() {
  std::vector<Flight> out;
  out.reserve(flights_.size());
  for (auto& [id, flight] : flights_)
    out.push_back(std::move(flight));
  flights_.clear();
  by_key_.clear();
  waiting_ = 0;
  return out;
}

}  // namespace lastlight::dns
