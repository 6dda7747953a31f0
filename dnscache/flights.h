// The questions in flight and who waits for each. Owns copies of what is needed to answer a waiter later: its packet is
// gone by then. At most one flight per key (RFC 5452 s6: several of one question invite a birthday attack).
// Bounds: flights, waiters per flight, and waiters in all (kWaitersPerFlight for each possible flight).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/base/bytes.h"
#include "dnscache/forwarder.h"
#include "dnscache/hash.h"
#include "dnscache/query.h"

namespace lastlight::dns {

// A client that was told "nothing now".
struct Waiter {
  Waiter(const Query& query, const Client& client)
      : to(client), question(query.question.begin(), query.question.end()), asked(query) {}
  // The query as it was, its question pointing into our own copy.
  Query query() const {
    Query out = asked;
    out.question = question;
    return out;
  }

  Client to;
  ByteBuffer question;

 private:
  Query asked;
};

struct Flight {
  ByteBuffer key;  // empty: an opaque message (UPDATE, NOTIFY), known only by its id
  std::uint32_t zone = 0;
  std::vector<Waiter> waiters;
};

class Flights {
 public:
  Flights(std::uint32_t max_flights, std::uint32_t max_waiters, std::uint64_t hash_seed);

  static constexpr std::uint64_t kWaitersPerFlight = 4;

  enum class Joined : std::uint8_t { Yes, NoFlight, Full };
  Joined join(ByteView key, const Query& query, const Client& client);
  // A new flight with its first waiter; none if there are too many.
  std::optional<FlightId> open(ByteView key, std::uint32_t zone, const Query& query, const Client& client);
  // Ends the flight and hands over its waiters; none if it has ended already.
  std::optional<Flight> close(FlightId id);
  std::vector<Flight> close_all();
  std::size_t size() const { return flights_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    std::uint64_t seed;
    std::size_t operator()(std::string_view key) const;
  };

  std::uint32_t max_flights_;
  std::uint32_t max_waiters_;
  FlightId last_ = 0;
  std::uint64_t waiting_ = 0;
  std::unordered_map<FlightId, Flight> flights_;
  std::unordered_map<std::string, FlightId, Hash, std::equal_to<>> by_key_;
};

}  // namespace lastlight::dns
