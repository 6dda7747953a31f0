#include "dnscache/upstream.h"

#include <map>
#include <set>

#include "dnscache/upstream_channel.h"

#include "tests/unit/dnsshell/dns_peer.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::test;

namespace {

struct Bench {
  io::Loop loop;
  DnsConfig config = [] {
    DnsConfig c;
    c.attempt_timeout = 100ms;
    c.query_timeout = 1s;
    return c;
  }();
  std::map<FlightId, std::expected<ByteBuffer, Failure>> results;
  bool inside_ask = false;
  std::unique_ptr<Upstream> upstream;

  Bench() {
    upstream = std::make_unique<Upstream>(loop, config, [this](FlightId id, std::expected<Upstream::Reply, Failure> r) {
      CHECK_FALSE(inside_ask);
      CHECK_FALSE(results.contains(id));
      if (r) {
        CHECK(r->from.port != 0);
        results.emplace(id, ByteBuffer(r->message.begin(), r->message.end()));
      } else {
        results.emplace(id, std::unexpected(r.error()));
      }
    });
  }

  void ask(FlightId id, std::string_view label = "web") {
    const ByteBuffer q = question(label);
    inside_ask = true;
    upstream->ask({.flight = id, .zone = 0, .query = q});
    inside_ask = false;
  }
  void wait(std::size_t count) {
    turn_until(loop, [&] { return results.size() >= count; });
  }
  // What came back for the question, but for the ID.
  void check_answer(FlightId id, std::string_view label = "web", std::uint8_t rcode = 0) {
    REQUIRE(results.contains(id));
    REQUIRE(results.at(id));
    ByteBuffer got = *results.at(id);
    got[0] = got[1] = 0;
    CHECK(got == reply_to(question(label), rcode));
  }
};

}  // namespace

TEST_CASE("a reply comes back byte for byte over UDP and TCP, IPv4 and IPv6", "[upstream]") {
  Bench b;
  DnsPeer peer(b.loop, GENERATE("127.0.0.1", "::1"));
  const Protocol protocol = GENERATE(Protocol::Udp, Protocol::Tcp);
  b.upstream->set_upstreams(0, {peer.endpoint()}, protocol);
  b.ask(1);
  b.wait(1);
  b.check_answer(1);
  CHECK(peer.tcp_queries.size() == (protocol == Protocol::Tcp ? 1 : 0));
}

TEST_CASE("SERVFAIL, REFUSED and NXDOMAIN are replies", "[upstream]") {
  Bench b;
  DnsPeer peer(b.loop);
  b.upstream->set_upstreams(0, {peer.endpoint()}, Protocol::Udp);
  FlightId id = 0;
  for (std::uint8_t rcode = 2; rcode <= 5; ++rcode) {
    peer.script.udp = [=](ByteView q) { return DnsPeer::Replies{reply_to(q, rcode)}; };
    b.ask(++id);
    b.wait(id);
    b.check_answer(id, "web", rcode);
  }
}

TEST_CASE("a UDP answer over 512 bytes is taken as it is", "[upstream]") {
  Bench b;
  DnsPeer peer(b.loop);
  peer.script.udp = [](ByteView q) {
    ByteBuffer m = reply_to(q);
    for (int i = 0; i < 60; ++i) {
      for (const int byte : {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 192, 0, 2, i})
        m.push_back(static_cast<std::uint8_t>(byte));
      ++m[7];
    }
    return DnsPeer::Replies{m};
  };
  b.upstream->set_upstreams(0, {peer.endpoint()}, Protocol::Udp);
  b.ask(1);
  b.wait(1);
  REQUIRE(b.results.at(1));
  CHECK(b.results.at(1)->size() > 900);
  CHECK(peer.tcp_accepted == 0);
}

TEST_CASE("truncation over UDP is followed over TCP; over TCP it is a failure", "[upstream]") {
  Bench b;
  DnsPeer peer(b.loop);
  peer.script.udp = [](ByteView q) { return DnsPeer::Replies{reply_to(q, 0, true)}; };
  b.upstream->set_upstreams(0, {peer.endpoint()}, Protocol::Udp);
  b.ask(1);
  b.wait(1);
  b.check_answer(1);
  peer.script.tcp = peer.script.udp;
  b.ask(2);
  b.wait(2);
  REQUIRE_FALSE(b.results.at(2));
  CHECK(b.results.at(2).error() == Failure::Truncated);
}

TEST_CASE("silence moves on to the next upstream, and ends in a timeout when none speaks", "[upstream]") {
  Bench b;
  DnsPeer silent(b.loop);
  DnsPeer peer(b.loop);
  silent.script.udp = [](ByteView) { return DnsPeer::Replies{}; };
  b.upstream->set_upstreams(0, {silent.endpoint(), peer.endpoint()}, Protocol::Udp);
  b.ask(1);
  b.wait(1);
  b.check_answer(1);
  peer.script.udp = silent.script.udp;
  b.ask(2);
  b.wait(2);
  REQUIRE_FALSE(b.results.at(2));
  CHECK(b.results.at(2).error() == Failure::Timeout);
  CHECK(b.upstream->counters().pool.timeouts == 4);
  CHECK(b.upstream->counters().flights == 0);
}

TEST_CASE("RFC 5452 s9.1, 7766 s7: wrong ID and wrong question are not replies: the right one is waited for",
          "[upstream]") {
  Bench b;
  DnsPeer peer(b.loop);
  peer.script.udp = [](ByteView q) {
    ByteBuffer id = reply_to(q);
    id[0] ^= 0xff;
    ByteBuffer other = reply_to(q);
    other[13] = 'x';
    return DnsPeer::Replies{id, other, reply_to(q)};
  };
  b.upstream->set_upstreams(0, {peer.endpoint()}, Protocol::Udp);
  b.ask(1);
  b.wait(1);
  b.check_answer(1);
  CHECK(peer.udp_ids.size() == 1);
}

TEST_CASE("a closed port and a reset connection are failures of the network, and the next upstream is asked",
          "[upstream]") {
  Bench b;
  const Protocol protocol = GENERATE(Protocol::Udp, Protocol::Tcp);
  Endpoint closed;
  {
    closed = DnsPeer(b.loop).endpoint();
  }
  DnsPeer resetting(b.loop);
  resetting.script.reset_tcp = true;
  DnsPeer peer(b.loop);
  b.upstream->set_upstreams(0, {protocol == Protocol::Tcp ? resetting.endpoint() : closed, peer.endpoint()}, protocol);
  b.ask(1);
  b.wait(1);
  b.check_answer(1);
  CHECK(b.upstream->counters().pool.network_errors == 1);
  b.upstream->set_upstreams(0, {closed}, protocol);
  b.ask(2);
  b.wait(2);
  REQUIRE_FALSE(b.results.at(2));
  CHECK(b.results.at(2).error() == Failure::Network);
}

TEST_CASE("no upstream is told later, not from within ask", "[upstream]") {
  Bench b;
  b.ask(1);
  CHECK(b.results.empty());
  b.wait(1);
  CHECK(b.results.at(1).error() == Failure::NoUpstream);
}

TEST_CASE("RFC 5452 s9.2, s10: of a thousand questions IDs and source ports vary, none is lost", "[upstream]") {
  Bench b;
  DnsPeer peer(b.loop);
  b.upstream->set_upstreams(0, {peer.endpoint()}, Protocol::Udp);
  for (FlightId id = 1; id <= 2000; ++id) {
    b.ask(id, "n" + std::to_string(id));
    if (id % 50 == 0) b.wait(id);
  }
  for (FlightId id = 1; id <= 2000; ++id)
    b.check_answer(id, "n" + std::to_string(id));
  CHECK(std::set(peer.udp_ids.begin(), peer.udp_ids.end()).size() > 1800);
  CHECK(std::set(peer.udp_ports.begin(), peer.udp_ports.end()).size() >= UpstreamChannels::kUdp);
  CHECK(b.upstream->counters().channels <= UpstreamChannels::kMostUdp);
}

TEST_CASE("a channel that has served comes again with another source port, and takes no late answer", "[upstream]") {
  Bench b;
  DnsPeer peer(b.loop);
  b.upstream->set_upstreams(0, {peer.endpoint()}, Protocol::Udp);
  constexpr std::size_t kMost = UpstreamChannels::kUdpQuestions * 5 / 4;  // of one port
  constexpr std::size_t kQuestions = 24 * kMost;
  for (FlightId id = 1; id <= kQuestions; ++id) {
    b.ask(id, "n" + std::to_string(id));
    if (id % 40 == 0) b.wait(id);
  }
  std::map<std::uint16_t, std::size_t> questions;
  for (const std::uint16_t port : peer.udp_ports)
    ++questions[port];
  CHECK(questions.size() >= kQuestions / kMost);
  for (const auto& [port, count] : questions)
    CHECK(count <= 2 * kMost);  // the kernel may draw one twice
  CHECK(b.results.size() == kQuestions);
}

TEST_CASE("a question over TCP does not wait behind a slow one", "[upstream]") {
  Bench b;
  DnsPeer peer(b.loop);
  peer.script.tcp = [](ByteView q) { return q[13] == 's' ? DnsPeer::Replies{} : DnsPeer::Replies{reply_to(q)}; };
  b.upstream->set_upstreams(0, {peer.endpoint()}, Protocol::Tcp);
  b.ask(1, "slow");
  b.ask(2, "fast");
  b.wait(1);
  b.check_answer(2, "fast");
  CHECK(peer.tcp_accepted == 2);
  b.upstream.reset();  // with a question under way
  CHECK(b.results.size() == 1);
}

TEST_CASE("c-ares gives up no question before its life, however quick other answers were", "[upstream]") {
  const UpstreamLibrary library;
  io::Loop loop;
  RandomNumbers random;
  upstream_sockets::Inbox inbox;
  DnsPeer peer(loop);
  ByteBuffer held;
  peer.script.tcp = [&](ByteView q) {
    if (q[13] == 's') held.assign(q.begin(), q.end());
    if (q[13] == 's') return DnsPeer::Replies{};
    return q[13] == 'r' ? DnsPeer::Replies{reply_to(held), reply_to(q)} : DnsPeer::Replies{reply_to(q)};
  };
  std::map<std::uint64_t, bool> answered;
  bool to_flush = false, waited = false;
  const auto channel =
      UpstreamChannel::open({loop, random, inbox}, peer.endpoint(), Protocol::Tcp, 5s,
                            {.done = [&](std::uint64_t send, const auto& reply) { answered[send] = reply.has_value(); },
                             .connected = [] {},
                             .worked = [] {},
                             .gathered = [&] { to_flush = true; }});
  REQUIRE(channel);
  const auto ask = [&](std::uint64_t send, std::string_view label) {
    ByteBuffer q = question(label);
    channel->send(send, q);
    if (std::exchange(to_flush, false)) channel->flush();
  };
  const auto wait_for = [&](std::uint64_t send) {
    turn_until(loop, [&] {
      if (std::exchange(to_flush, false)) channel->flush();
      return answered.contains(send);
    });
  };
  for (std::uint64_t send = 1; send <= 20; ++send) {
    ask(send, "quick");
    wait_for(send);
  }
  ask(100, "slow");
  io::Timer timer(loop, [&] { waited = true; });
  timer.start_in(400ms);  // over c-ares 1.34's least timeout
  turn_until(loop, [&] { return waited; });
  channel->expire();
  ask(101, "quick");
  wait_for(101);
  CHECK_FALSE(answered.contains(100));
  ask(102, "release");
  wait_for(102);
  wait_for(100);
  CHECK(answered.at(100));
}
