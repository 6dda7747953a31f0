// The questions in flight and who waits for each (waiters.h). At most one flight per key (RFC 5452 s6: several of one
// question invite a birthday attack).
//
// A flight has a moment when it is overdue: its waiters may then be given something else, and the question goes on
// without them. A flight nobody waits for (a refresh, a look ahead) is one like any other.
//
// Bounds: flights, waiters per flight, waiters in all (kWaitersPerFlight for each possible flight), waiters per client
// (admission.h).
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/base/histogram.h"
#include "agent/base/time.h"
#include "dnscache/admission.h"
#include "dnscache/deadlines.h"
#include "dnscache/forwarder.h"
#include "dnscache/place_table.h"
#include "dnscache/query.h"
#include "dnscache/slots.h"
#include "dnscache/waiters.h"

namespace lastlight::dns {

struct Flight {
  ByteBuffer key;          // empty: an opaque message (UPDATE, NOTIFY), known only by its id
  std::uint64_t hash = 0;  // of the key, as its owner hashes keys
  std::uint32_t zone = 0;  // kNoZone once the configuration has no zone for it any more
  Instant opened{};
  Instant due{};
  bool overdue = false;
  Waiters waiters;
};

inline constexpr std::uint32_t kNoZone = ~std::uint32_t{0};

class Flights {
 public:
  struct Limits {
    std::uint32_t flights = 0;
    std::uint32_t waiters = 0;  // per flight
    std::uint32_t per_client = 0;
  };
  Flights(const Limits& limits, std::uint64_t hash_seed);

  static constexpr std::uint64_t kWaitersPerFlight = 4;

  enum class Full : std::uint8_t { Flights, Waiters, Client };

  // The flight of this key, if there is one. `hash` is seeded, and the same for a key each time.
  std::optional<FlightId> find(ByteView key, std::uint64_t hash) const;
  const Flight& at(FlightId id) const { return *flights_.find(id); }  // one that has not ended
  std::expected<void, Full> join(FlightId id, const Query& query, const Client& client, Instant now);
  // A new flight with its first waiter, or (open_alone) with none.
  std::expected<FlightId, Full> open(ByteView key, std::uint64_t hash, std::uint32_t zone, const Query& query,
                                     const Client& client, Instant now, Duration patience);
  std::expected<FlightId, Full> open_alone(ByteView key, std::uint64_t hash, std::uint32_t zone, Instant now,
                                           Duration patience);
  // Ends the flight and shows it with its waiters, until the next is closed; null if it has ended already.
  const Flight* close(FlightId id, Instant now);
  std::vector<Flight> close_all(Instant now);

  // The next flight whose patience is over, each once.
  std::optional<FlightId> next_overdue(Instant now);
  Instant next_due() const { return due_.next(); }
  // The waiters leave, the flight goes on.
  Waiters release(FlightId id, Instant now);

  void set_limits(const Limits& limits);
  void rezone(const std::function<std::uint32_t(const Flight&)>& zone_of);

  std::size_t size() const { return flights_.size(); }
  std::uint64_t waiting() const { return waiting_; }
  const Histogram& waits() const { return waits_; }  // of those that have left

 private:
  FlightId take_off(ByteView key, std::uint64_t hash, std::uint32_t zone, Instant now, Duration patience);
  void settle_due();
  void wait(Flight& flight, const Query& query, const Client& client, Admission::Place& place, Instant now);
  void leave(const Flight& flight, Instant now);

  Limits limits_;
  Admission admission_;
  std::uint64_t waiting_ = 0;
  Histogram waits_;
  Places places_;
  Slots<Flight> flights_;
  PlaceTable by_key_;
  Deadlines due_;
  Flight closed_;  // the last: what it holds of memory goes to the next in its place
};

}  // namespace lastlight::dns
