#include "dnscache/flights.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;

namespace {

const ByteBuffer kKey{1, 2, 3};

Client client(std::uint64_t number) {
  Client out;
  out.connection = number;
  out.peer.address = IpAddress::v4(static_cast<std::uint32_t>(number));
  return out;
}

}  // namespace

TEST_CASE("with the shipped limits every client of a busy node may wait for one cold name") {
  const DnsConfig shipped;
  Flights flights({shipped.max_flights, shipped.max_waiters, shipped.max_per_client}, 1);
  REQUIRE(shipped.max_waiters >= 4096);
  const auto flight = flights.open(kKey, 7, 0, Query{}, client(0), Instant{}, Duration{});
  REQUIRE(flight);
  for (std::uint64_t i = 1; i < shipped.max_waiters; ++i)
    REQUIRE(flights.join(*flight, Query{}, client(i), Instant{}));
  CHECK(flights.join(*flight, Query{}, client(shipped.max_waiters), Instant{}).error() == Flights::Full::Waiters);
  CHECK(flights.close(*flight, Instant{})->waiters.size() == shipped.max_waiters);
}

TEST_CASE("a crowd that waited leaves no room behind for each question that comes after") {
  Flights flights({.flights = 100, .waiters = 200, .per_client = 10}, 1);
  const ByteBuffer key{1};
  const auto open = [&](std::uint32_t crowd) {
    const auto flight = flights.open(key, 1, 0, Query{}, client(0), Instant{}, Duration{});
    REQUIRE(flight);
    CHECK(flights.at(*flight).waiters.capacity() <= Waiters::kKept);
    for (std::uint32_t i = 1; i < crowd; ++i)
      REQUIRE(flights.join(*flight, Query{}, client(i), Instant{}));
    CHECK(flights.close(*flight, Instant{})->waiters.size() == crowd);
  };
  for (const std::uint32_t crowd : {200U, 1U, 3U, 200U, 200U, 1U, 1U})
    open(crowd);
}

TEST_CASE("a waiter costs what config.h says") {
  constexpr std::size_t kTypicalQuestion = 64;  // on the heap, with the allocator's own
  CHECK(sizeof(Waiter) + kTypicalQuestion <= 250);
  const DnsConfig shipped;
  CHECK(Flights::kWaitersPerFlight * shipped.max_flights * 250 <= mib(4).count);
}

TEST_CASE("a client has its bound, and in a crowd what is left; the rest of the node still gets a place") {
  Flights flights({.flights = 400, .waiters = 10, .per_client = 150}, 1);
  std::uint8_t n = 0;
  const auto flood = [&](std::uint64_t who) {
    std::uint32_t got = 0;
    for (int i = 0; i < 1000; ++i) {
      const ByteBuffer key{++n, static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(i >> 8)};
      const auto opened =
          flights.open(key, n * 1000U + static_cast<unsigned>(i), 0, Query{}, client(who), Instant{}, Duration{});
      if (opened) {
        ++got;
      } else {
        REQUIRE(opened.error() == Flights::Full::Client);
      }
    }
    return got;
  };
  CHECK(flood(1) == 150);
  CHECK(flood(2) == 150);
  CHECK(flood(3) == 50);
  CHECK(flood(4) == 25);
  for (std::uint64_t who = 100; who < 120; ++who)
    CHECK(flights.open({}, 0, 0, Query{}, client(who), Instant{}, Duration{}));
  CHECK(flights.size() < 400);
  CHECK(flights.close_all(Instant{}).size() == 395);
  CHECK(flights.waiting() == 0);
  CHECK(flood(1) == 150);
}
