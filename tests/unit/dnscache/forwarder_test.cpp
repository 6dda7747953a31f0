#include <map>

#include "tests/unit/dnscache/forwarder_rig.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

TEST_CASE("RFC 1035 s7.3: an answer is relayed, kept, and served again with its TTL aged") {
  Rig rig;
  const auto first = parse(rig.resolve(query_for("Web.Example", 7), reply_for("web.example").a(30).octets));
  CHECK(first.valid);
  CHECK(first.id == 7);
  rig.now += std::chrono::seconds(10);
  const auto second = parse(rig.ask(query_for("wEB.example", 8)));
  REQUIRE(second.valid);
  CHECK(second.id == 8);
  CHECK((second.flags & kRa) != 0);
  CHECK((second.flags & kRd) != 0);
  CHECK((second.flags & kAa) == 0);
  CHECK(second.records.at(0).ttl == 20);
  const auto name = wire_name("wEB.example");
  CHECK(std::equal(name.begin(), name.end(), second.question.begin()));
  rig.now += std::chrono::seconds(20);
  CHECK(rig.ask(query_for("web.example")).empty());
  CHECK(rig.last.ask);
}

TEST_CASE("RFC 5452 s6: one question in flight; each waiter is answered once with its own ID, case and EDNS") {
  Rig rig;
  CHECK(rig.ask(query_for("a.example", 1), Transport::Udp, 1).empty());
  const auto flight = rig.last.ask.value().flight;
  for (std::uint16_t i = 2; i <= 5; ++i) {
    CHECK(rig.ask(query_for("A.example", i), Transport::Udp, i).empty());
    CHECK_FALSE(rig.last.ask);
  }
  CHECK(rig.ask(MessageBuilder(6, kRd).question("a.example", kTypeA).opt(4096).octets, Transport::Tcp, 6).empty());
  CHECK(rig.forwarder.flights() == 1);
  const auto sent = rig.forwarder.on_reply(flight, reply_for("a.example").a(5).opt(1232).octets, rig.now);
  REQUIRE(sent.size() == 6);
  for (const auto& delivery : sent) {
    const auto parsed = parse(delivery.message);
    REQUIRE(parsed.valid);
    CHECK(parsed.id == delivery.to.connection);
    CHECK(parsed.opt == (parsed.id == 6));
    CHECK((parsed.question[1] == 'A') == (parsed.id >= 2 && parsed.id <= 5));
  }
  CHECK(rig.forwarder.flights() == 0);
  CHECK(rig.forwarder.on_reply(flight, reply_for("a.example").a(5).octets, rig.now).empty());
  CHECK(rig.forwarder.on_failure(flight, Failure::Timeout, rig.now).empty());
  CHECK(rig.forwarder.counters().late_replies == 1);
}

TEST_CASE("Bounds: waiters of one flight and flights in all; beyond, SERVFAIL with an extended error") {
  auto config = config_with();
  config.max_flights = 2;
  config.max_waiters = 3;
  Rig rig(config);
  for (std::uint16_t i = 0; i < 3; ++i)
    CHECK(rig.ask(query_for("a.example", i)).empty());
  auto refused = parse(rig.ask(edns_query("a.example")));  // another client of the same key
  CHECK(refused.rcode() == kServFail);
  CHECK(refused.ede == 0);
  CHECK(rig.ask(query_for("b.example")).empty());
  refused = parse(rig.ask(edns_query("c.example")));
  CHECK(refused.rcode() == kServFail);
  CHECK(rig.forwarder.counters().waiters_full == 1);
  CHECK(rig.forwarder.counters().flights_full == 1);
  CHECK(rig.forwarder.abandon_all(rig.now).size() == 4);
  CHECK(rig.forwarder.flights() == 0);
}

TEST_CASE(
    "RFC 9619 s4, 6891 s6.1.1: FORMERR for other than one question, two OPTs, an OPT with an owner, cut records") {
  Rig rig;
  const auto rcode = [&](const ByteBuffer& query) { return parse(rig.ask(query)).rcode(); };
  CHECK(rcode(MessageBuilder(9, kRd).octets) == kFormErr);
  CHECK(rcode(MessageBuilder(9, kRd).question("a.", kTypeA).question("b.", kTypeA).octets) == kFormErr);
  CHECK(rcode(MessageBuilder(9, kRd).question("a.", kTypeA).opt(512).opt(512).octets) == kFormErr);
  auto cut = edns_query("a.");
  cut.pop_back();
  CHECK(rcode(cut) == kFormErr);
  CHECK(rcode(MessageBuilder(9, kRd).question("a.", kTypeA).record(3, kTypeOpt, 0, {}).octets) == kFormErr);
  CHECK(rcode(MessageBuilder(9, kRd).question("a.", kTypeA).opt(512, 0, 0, {0, 10, 0, 9}).octets) == kFormErr);
  CHECK(rig.forwarder.counters().format_errors == 6);
  CHECK(rig.forwarder.flights() == 0);
}

TEST_CASE("RFC 1035 s4.1.1, 8906 s3: short packets and responses are dropped, other opcodes NOTIMP") {
  Rig rig;
  CHECK(rig.ask({}).empty());
  CHECK(rig.ask(ByteBuffer(11)).empty());
  CHECK(rig.ask(reply_for("a.").octets).empty());
  CHECK(rig.forwarder.counters().dropped_short == 2);
  CHECK(rig.forwarder.counters().dropped_response == 1);
  const auto parsed = parse(rig.ask(MessageBuilder(3, 15 << 11 & kOpcodeMask).octets));
  CHECK(parsed.rcode() == kNotImp);
  CHECK(opcode_of(parsed.flags) == 15);
}

TEST_CASE("RFC 6891 s6.1.3: BADVERS with our version and payload") {
  Rig rig;
  const auto parsed = parse(rig.ask(MessageBuilder(3, kRd).question("a.", kTypeA).opt(4096, 0, 1).octets));
  CHECK(parsed.rcode() == kBadVers);
  CHECK((parsed.opt_ttl >> 16 & 0xFF) == 0);
  CHECK(parsed.records.at(0).rr_class == 1232);
}

TEST_CASE("RFC 8914: REFUSED for AXFR, IXFR, UPDATE and NOTIFY says Not Supported, to EDNS clients only") {
  Rig rig;
  for (const std::uint16_t type : {kTypeAxfr, kTypeIxfr}) {
    const auto parsed = parse(rig.ask(MessageBuilder(3, 0).question("a.", type).opt(4096).octets));
    CHECK(parsed.rcode() == kRefused);
    CHECK(parsed.ede == 21);
  }
  for (const std::uint16_t opcode : {kOpNotify, kOpUpdate}) {
    const auto flags = static_cast<std::uint16_t>(opcode << 11);
    auto parsed = parse(rig.ask(MessageBuilder(3, flags).question("a.", kTypeSoa).opt(4096).octets));
    CHECK(parsed.rcode() == kRefused);
    CHECK(parsed.ede == 21);
    parsed = parse(rig.ask(MessageBuilder(3, flags).question("a.", kTypeSoa).octets));
    CHECK(parsed.rcode() == kRefused);
    CHECK_FALSE(parsed.opt);
  }
}

TEST_CASE("RFC 2136 s6, 1996: a zone that relays updates passes them as they came, each by itself, kept by nobody") {
  ZoneConfig zone;
  zone.relay_updates = true;
  Rig rig(config_with(zone));
  // A prerequisite of RFC 2136 s2.4.1: no RDATA, class ANY.
  const auto update = MessageBuilder(77, kOpUpdate << 11).question("a.", kTypeSoa).record(1, kTypeA, 0, {}, 255).octets;
  CHECK(rig.ask(update).empty());
  REQUIRE(rig.last.ask);
  ByteBuffer sent(rig.last.ask->query.begin(), rig.last.ask->query.end());
  CHECK(load16(sent, 0) == 0);
  store16(sent, 0, 77);
  CHECK(sent == update);
  const auto first = rig.last.ask->flight;
  CHECK(rig.ask(update).empty());
  REQUIRE(rig.last.ask);
  CHECK(rig.forwarder.flights() == 2);
  const auto reply = MessageBuilder(0, kQr | (kOpUpdate << 11) | kAa).octets;
  const auto back = rig.forwarder.on_reply(first, reply, rig.now);
  REQUIRE(back.size() == 1);
  CHECK(load16(back[0].message, 0) == 77);
  const auto failed = rig.forwarder.on_failure(rig.last.ask->flight, Failure::Timeout, rig.now);
  REQUIRE(failed.size() == 1);
  CHECK(parse(failed[0].message).rcode() == kServFail);
  CHECK(rig.forwarder.cache_counters().inserted == 0);
}

TEST_CASE("RFC 8482 s4.2: ANY is answered by HINFO") {
  Rig rig;
  const auto parsed = parse(rig.ask(query_for("a.example", 1, kTypeAny)));
  REQUIRE(parsed.valid);
  CHECK(parsed.records.at(0).type == kTypeHinfo);
  CHECK(parsed.counts[1] == 1);
}

TEST_CASE("RFC 6761 s6.3: localhost and what is below it never leaves the node") {
  Rig rig;
  const auto bytes = rig.ask(query_for("x.LocalHost"));
  const auto a = parse(bytes);
  REQUIRE(a.valid);
  CHECK(load32(bytes, a.records.at(0).rdata_at) == 0x7F000001);
  CHECK(parse(rig.ask(query_for("localhost", 1, kTypeAaaa))).records.at(0).rdata_size == 16);
  CHECK(parse(rig.ask(query_for("localhost", 1, 16))).rcode() == kNoError);
  CHECK(rig.ask(query_for("notlocalhost")).empty());
  CHECK(rig.last.ask);
}

TEST_CASE("RFC 6891 s6.2, 7871 s7: upstream gets our own OPT, the client's RD, CD and DO, and none of its options") {
  Rig rig;
  const auto ecs = ByteBuffer{0, 8, 0, 4, 0, 1, 0, 0};
  CHECK(rig.ask(MessageBuilder(5, kRd | kCd).question("A.example", kTypeA).opt(4096, kEdnsDo, 0, ecs).octets).empty());
  REQUIRE(rig.last.ask);
  const auto sent = parse(rig.last.ask->query);
  REQUIRE(sent.valid);
  CHECK(sent.id == 0);
  CHECK((sent.flags & (kRd | kCd)) == (kRd | kCd));
  REQUIRE(sent.records.size() == 1);
  CHECK(sent.records[0].rr_class == 1232);
  CHECK(sent.records[0].rdata_size == 0);
  CHECK((sent.opt_ttl & kEdnsDo) != 0);
}

TEST_CASE("RFC 3225: with and without DO, CD or RD are different questions") {
  Rig rig;
  CHECK(rig.ask(edns_query("a.")).empty());
  CHECK(rig.ask(edns_query("a.", 1232, kEdnsDo)).empty());
  CHECK(rig.last.ask);
  CHECK(rig.ask(MessageBuilder(1, kRd | kCd).question("a.", kTypeA).octets).empty());
  CHECK(rig.last.ask);
  CHECK(rig.ask(MessageBuilder(1, 0).question("a.", kTypeA).octets).empty());
  CHECK(rig.last.ask);
  CHECK(rig.forwarder.flights() == 4);
}

TEST_CASE("RFC 6840 s5.8: AD reaches only clients that set AD or DO") {
  Rig rig;
  auto reply = reply_for("a.").a(60).octets;
  store16(reply, 2, load16(reply, 2) | kAd);
  CHECK((parse(rig.resolve(query_for("a."), reply)).flags & kAd) == 0);
  CHECK((parse(rig.ask(MessageBuilder(1, kRd | kAd).question("a.", kTypeA).octets)).flags & kAd) != 0);
}

TEST_CASE("RFC 9520 s3.2, 8914 s4.14: failures are kept for failure_ttl and say Cached Error") {
  Rig rig;
  CHECK(rig.ask(edns_query("a.")).empty());
  const auto sent = rig.forwarder.on_failure(rig.last.ask.value().flight, Failure::Timeout, rig.now);
  REQUIRE(sent.size() == 1);
  CHECK(parse(sent[0].message).ede == 22);
  rig.now += std::chrono::milliseconds(900);
  const auto cached = parse(rig.ask(edns_query("a.")));
  CHECK(cached.rcode() == kServFail);
  CHECK(cached.ede == 13);
  CHECK_FALSE(parse(rig.ask(query_for("a."))).opt);
  rig.now += std::chrono::milliseconds(100);
  CHECK(rig.ask(edns_query("a.")).empty());
  CHECK(parse(rig.forwarder.on_failure(rig.last.ask.value().flight, Failure::Network, rig.now)[0].message).ede == 23);
}

TEST_CASE("RFC 8906: an upstream's FORMERR is about our query, so clients get SERVFAIL; REFUSED passes") {
  Rig rig;
  CHECK(parse(rig.resolve(query_for("a."), reply_for("a.", kFormErr).octets)).rcode() == kServFail);
  CHECK(parse(rig.resolve(query_for("b."), reply_for("b.", kRefused).octets)).rcode() == kRefused);
  CHECK(parse(rig.resolve(query_for("c."), MessageBuilder(0, kQr | kNotImp).octets)).rcode() == kServFail);
}

TEST_CASE("RFC 5452 s9.1, 1035 s7.4: mismatched, malformed and truncated answers are SERVFAIL and never kept") {
  Rig rig;
  std::uint16_t n = 0;
  auto cut = reply_for("a.").a(60).octets;
  cut.pop_back();
  auto tc = reply_for("a.").a(60).octets;
  store16(tc, 2, load16(tc, 2) | kTc);
  auto no_qr = reply_for("a.").a(60).octets;
  store16(no_qr, 2, kRd);
  auto opcode = reply_for("a.").a(60).octets;
  store16(opcode, 2, kQr | (kOpNotify << 11));
  for (const ByteBuffer& bad :
       {reply_for("b.").a(60).octets, reply_for("a.", 0, kTypeAaaa).a(60).octets, cut, tc, no_qr, opcode, ByteBuffer{},
        MessageBuilder(0, kQr).question("a.", kTypeA, 3).a(60).octets,
        reply_for("a.").record(1, kTypeA, 60, {1, 2, 3, 4}, 3).octets,
        reply_for("a.").record(1, kTypeA, 60, {1}).octets, reply_for("a.").a(60).opt(512).opt(512).octets}) {
    CAPTURE(n++);
    CHECK(parse(rig.resolve(query_for("a."), bad)).rcode() == kServFail);
    rig.now += std::chrono::seconds(2);
  }
  CHECK(rig.forwarder.counters().invalid_replies == 10);
  CHECK(rig.forwarder.counters().truncated_replies == 1);
}

TEST_CASE("RFC 2308 s5: negative answers live min(SOA TTL, MINIMUM, limit); without SOA not at all") {
  ZoneConfig zone;
  zone.max_negative_ttl = std::chrono::seconds(5);
  Rig rig(config_with(zone));
  const auto lives = [&](std::string_view name, const ByteBuffer& reply) {
    rig.resolve(query_for(name), reply);
    int seconds = 0;
    const Instant start = rig.now;
    for (; seconds < 100; ++seconds) {
      rig.now = start + std::chrono::seconds(seconds);
      if (rig.ask(query_for(name)).empty()) break;
    }
    return seconds;
  };
  CHECK(lives("a.", reply_for("a.", kNxDomain).soa(60, 30).octets) == 5);
  CHECK(lives("b.", reply_for("b.", kNxDomain).soa(60, 3).octets) == 3);
  CHECK(lives("c.", reply_for("c.").soa(2, 30).octets) == 2);
  CHECK(lives("d.", reply_for("d.", kNxDomain).octets) == 0);
  CHECK(lives("e.", reply_for("e.").octets) == 0);
  CHECK(lives("f.", reply_for("f.", kNxDomain).soa(60, 0).octets) == 0);
  CHECK(lives("g.", reply_for("g.", kNxDomain).soa(60, 0x80000000).octets) == 0);
}

TEST_CASE("No answer of a zone that is not to be cached is kept; no zone is REFUSED with Not Authoritative") {
  ZoneConfig zone;
  zone.name = "example";
  zone.cache = false;
  Rig rig(config_with(zone));
  rig.resolve(query_for("a.example"), reply_for("a.example").a(60).octets);
  CHECK(rig.ask(query_for("a.example")).empty());
  CHECK(parse(rig.ask(edns_query("a.test"))).ede == 20);
}
