#include "dnscache/flights.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;

namespace {

const ByteBuffer kKey{1, 2, 3};

Client client(std::uint64_t number) {
  Client out;
  out.connection = number;
  return out;
}

}  // namespace

TEST_CASE("with the shipped limits every client of a busy node may wait for one cold name") {
  const DnsConfig shipped;
  Flights flights(shipped.max_flights, shipped.max_waiters, 1);
  REQUIRE(shipped.max_waiters >= 4096);
  const auto flight = flights.open(kKey, 0, Query{}, client(0));
  REQUIRE(flight);
  for (std::uint64_t i = 1; i < shipped.max_waiters; ++i)
    REQUIRE(flights.join(kKey, Query{}, client(i)) == Flights::Joined::Yes);
  CHECK(flights.join(kKey, Query{}, client(shipped.max_waiters)) == Flights::Joined::Full);
  CHECK(flights.close(*flight)->waiters.size() == shipped.max_waiters);
}

TEST_CASE("a waiter costs what config.h says") {
  constexpr std::size_t kTypicalQuestion = 64;  // on the heap, with the allocator's own
  CHECK(sizeof(Waiter) + kTypicalQuestion <= 250);
  const DnsConfig shipped;
  CHECK(Flights::kWaitersPerFlight * shipped.max_flights * 250 <= mib(4).count);
}
