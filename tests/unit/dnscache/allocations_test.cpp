// The hot path's promise, counted: this program's operator new is replaced by one that counts.
#include "dnscache/forwarder.h"

#include "tests/support/catch.h"
#include "tests/support/counted_allocations.h"
#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

TEST_CASE("a cache hit allocates nothing, in any of its forms") {
  DnsConfig config;
  config.zones = {ZoneConfig{}};
  Forwarder forwarder(config, 42);
  const Instant now{std::chrono::hours(1)};
  ByteBuffer out(65535);
  const Client udp;
  Client tcp;
  tcp.transport = Transport::Tcp;

  // One answer that fits everywhere, one of 40 records that is truncated for a small client, an NXDOMAIN.
  const auto resolve = [&](MessageBuilder query, const ByteBuffer& reply) {
    const auto asked = forwarder.on_query(query.octets, udp, now, out);
    REQUIRE(asked.ask);
    forwarder.on_reply(asked.ask->flight, reply, now);
  };
  const auto reply = [](const char* name, std::uint16_t rcode = 0) {
    return MessageBuilder(0, static_cast<std::uint16_t>(kQr | kRa | kRd | rcode)).question(name, kTypeA);
  };
  const auto query = [](const char* name) { return MessageBuilder(7, kRd).question(name, kTypeA); };
  resolve(query("small.example"), reply("small.example").a(300).octets);
  auto many = reply("many.example");
  for (std::uint8_t i = 0; i < 40; ++i)
    many.a(300, i);
  resolve(query("many.example"), many.octets);
  resolve(query("none.example"), reply("none.example", kNxDomain).soa(300, 300).octets);

  struct Case {
    const char* what;
    MessageBuilder query;
    const Client& client;
  };
  const Case cases[] = {
      {"plain", query("small.example"), udp},          {"another spelling", query("SmAlL.eXample"), udp},
      {"EDNS", query("small.example").opt(1232), udp}, {"over TCP", query("many.example"), tcp},
      {"truncated", query("many.example"), udp},       {"NXDOMAIN", query("none.example"), udp},
  };
  for (const Case& each : cases) {
    INFO(each.what);
    const std::size_t before = allocations;
    const auto outcome = forwarder.on_query(each.query.octets, each.client, now, out);
    const std::size_t after = allocations;
    CHECK(outcome.size > 0);
    CHECK_FALSE(outcome.ask);
    CHECK(after - before == 0);
  }
  CHECK(forwarder.cache_counters().hits >= std::size(cases));
  const std::size_t before = allocations;
  forwarder.on_query(query("miss.example").octets, udp, now, out);
  CHECK(allocations > before);  // the count counts
}
