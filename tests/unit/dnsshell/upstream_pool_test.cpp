#include "dnscache/upstream_pool.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;
using Send = UpstreamPool::Send;
using Finish = UpstreamPool::Finish;

namespace {
const Endpoint kFirst = *Endpoint::parse("192.0.2.1", 53);
const Endpoint kSecond = *Endpoint::parse("192.0.2.2", 53);
const Instant kStart{std::chrono::hours(1)};

UpstreamPool pool_of(std::vector<Endpoint> upstreams, Protocol protocol = Protocol::Udp) {
  UpstreamPool pool(2s, 5s);
  pool.set_upstreams(0, std::move(upstreams), protocol);
  return pool;
}
Send sent(const UpstreamPool::Order& order) {
  REQUIRE(std::holds_alternative<Send>(order));
  return std::get<Send>(order);
}
Finish finished(const UpstreamPool::Order& order) {
  REQUIRE(std::holds_alternative<Finish>(order));
  return std::get<Finish>(order);
}
}  // namespace

TEST_CASE("a zone without upstreams answers at once", "[upstream_pool]") {
  auto pool = pool_of({});
  CHECK(finished(pool.start(1, 0, kStart)).why == Failure::NoUpstream);
  CHECK(finished(pool.start(1, 7, kStart)).why == Failure::NoUpstream);
  CHECK(pool.flights() == 0);
}

TEST_CASE("the first upstream is asked, and its reply ends the flight", "[upstream_pool]") {
  auto pool = pool_of({kFirst, kSecond});
  const Send s = sent(pool.start(1, 0, kStart));
  CHECK(s.to == kFirst);
  CHECK(s.protocol == Protocol::Udp);
  CHECK(pool.next_deadline() == kStart + 2s);
  CHECK(pool.on_reply(1, s.attempt, false, kStart + 1s).deliver);
  CHECK(pool.flights() == 0);
  CHECK(pool.next_deadline() == kNever);
  CHECK_FALSE(pool.on_reply(1, s.attempt, false, kStart + 1s).deliver);
}

TEST_CASE("silence moves to the next upstream; three attempts or query_timeout end it", "[upstream_pool]") {
  auto pool = pool_of({kFirst, kSecond});
  pool.start(1, 0, kStart);
  CHECK(pool.on_time(kStart + 2s - 1ns).empty());
  auto orders = pool.on_time(kStart + 2s);
  REQUIRE(orders.size() == 1);
  CHECK(sent(orders[0]).to == kSecond);
  orders = pool.on_time(kStart + 4s);
  REQUIRE(orders.size() == 1);
  CHECK(sent(orders[0]).to == kFirst);
  CHECK(sent(orders[0]).attempt == 3);
  CHECK(pool.next_deadline() == kStart + 5s);
  orders = pool.on_time(kStart + 5s);
  REQUIRE(orders.size() == 1);
  CHECK(finished(orders[0]).why == Failure::Timeout);
  CHECK(pool.flights() == 0);
}

TEST_CASE("a late reply to an earlier attempt is still the answer", "[upstream_pool]") {
  auto pool = pool_of({kFirst, kSecond});
  const auto first = sent(pool.start(1, 0, kStart)).attempt;
  pool.on_time(kStart + 2s);
  CHECK(pool.on_reply(1, first, false, kStart + 3s).deliver);
}

TEST_CASE("a refusing upstream is asked last until its probation, then by one question", "[upstream_pool]") {
  auto pool = pool_of({kFirst, kSecond});
  Send s = sent(pool.start(1, 0, kStart));
  CHECK(sent(*pool.on_failure(1, s.attempt, Failure::Network, kStart)).to == kSecond);
  CHECK_FALSE(pool.healthy(kFirst));
  CHECK(sent(pool.start(2, 0, kStart + 500ms)).to == kSecond);
  s = sent(pool.start(3, 0, kStart + 1s));
  CHECK(s.to == kFirst);
  CHECK(sent(pool.start(4, 0, kStart + 1s)).to == kSecond);
  CHECK(pool.on_reply(3, s.attempt, false, kStart + 1s).deliver);
  CHECK(pool.healthy(kFirst));
  CHECK(sent(pool.start(5, 0, kStart + 1s)).to == kFirst);
}

TEST_CASE("the only upstream is tried three times however it fails", "[upstream_pool]") {
  auto pool = pool_of({kFirst});
  CHECK(sent(pool.start(1, 0, kStart)).attempt == 1);
  CHECK(sent(*pool.on_failure(1, 1, Failure::Network, kStart)).attempt == 2);
  CHECK_FALSE(pool.on_failure(1, 1, Failure::Network, kStart));
  CHECK(sent(*pool.on_failure(1, 2, Failure::Network, kStart)).attempt == 3);
  CHECK(finished(*pool.on_failure(1, 3, Failure::Network, kStart)).why == Failure::Network);
}

TEST_CASE("truncation over UDP asks the same upstream over TCP; over TCP it ends the flight", "[upstream_pool]") {
  auto pool = pool_of({kFirst, kSecond});
  Send s = sent(pool.start(1, 0, kStart));
  auto verdict = pool.on_reply(1, s.attempt, true, kStart);
  CHECK_FALSE(verdict.deliver);
  REQUIRE(verdict.order);
  s = sent(*verdict.order);
  CHECK(s.to == kFirst);
  CHECK(s.protocol == Protocol::Tcp);
  verdict = pool.on_reply(1, s.attempt, true, kStart);
  REQUIRE(verdict.order);
  CHECK(finished(*verdict.order).why == Failure::Truncated);
  CHECK(pool.counters().tcp_fallbacks == 1);
}
