// Lines of the standards that end in several parts at once, so that no other file is theirs.
#include <string>

#include "tests/unit/dnscache/forwarder_rig.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

TEST_CASE("RFC 8914 s4.15, s4.23, s4.24, s4.25: a failure says what it was, to those who speak EDNS") {
  struct Case {
    Failure why;
    int ede;
  };
  for (const Case each : {Case{Failure::NoUpstream, 22}, Case{Failure::Timeout, 22}, Case{Failure::Network, 23},
                          Case{Failure::Truncated, 24}, Case{Failure::Invalid, 24}}) {
    Rig rig;
    CHECK(rig.ask(edns_query("a.")).empty());
    const auto flight = rig.last.ask.value().flight;
    CHECK(rig.ask(query_for("a.")).empty());
    const auto sent = rig.forwarder.on_failure(flight, each.why, rig.now);
    REQUIRE(sent.size() == 2);
    CHECK(parse(sent[0].message).rcode() == kServFail);
    CHECK(parse(sent[0].message).ede == each.ede);
    CHECK_FALSE(parse(sent[1].message).opt);
    CHECK(parse(rig.ask(edns_query("a."))).ede == 13);
  }
  Rig rig;
  CHECK(rig.ask(edns_query("a.")).empty());
  CHECK(parse(rig.forwarder.abandon_all(rig.now)[0].message).ede == 14);
}

TEST_CASE("RFC 6762 s22.1: .local is asked of the upstream as any name: a cluster's domain is below it") {
  Rig rig;
  for (const std::string_view name : {"web.shop.svc.cluster.local", "printer.local", "local"}) {
    CHECK(rig.ask(query_for(name)).empty());
    CHECK(rig.last.ask);
  }
}

TEST_CASE("RFC 1034 s3.6.2, 4592: aliases that lead in a circle are passed on as they are, and nobody follows them") {
  Rig rig;
  auto reply = reply_for("a.test").record(1, kTypeCname, 20, wire_name("b.test"));
  reply.record_of(wire_name("b.test"), 1, kTypeCname, 9, {0xC0, kHeaderSize});
  const auto sent = parse(rig.resolve(query_for("a.test"), reply.octets));
  CHECK(sent.rcode() == kNoError);
  CHECK(sent.counts[1] == 2);
  CHECK(rig.forwarder.counters().asked == 1);
  // A chain that ends nowhere, without the SOA that would say so, is not kept (RFC 2308 s5).
  CHECK(rig.ask(query_for("a.test")).empty());
}

TEST_CASE("RFC 1034 s3.6.2: a chain lives as long as its shortest link") {
  Rig rig;
  const ByteBuffer target = wire_name("b.test");
  auto reply = reply_for("a.test").record(1, kTypeCname, 9, target);
  reply.record_of(target, 1, kTypeA, 300, {192, 0, 2, 1});
  rig.resolve(query_for("a.test"), reply.octets);
  rig.now += std::chrono::seconds(8);
  const auto kept = parse(rig.ask(query_for("a.test")));
  REQUIRE(kept.counts[1] == 2);
  CHECK(kept.records[0].ttl == 1);
  CHECK(kept.records[1].ttl == 292);
  rig.now += std::chrono::seconds(1);
  CHECK(rig.ask(query_for("a.test")).empty());
  CHECK(rig.last.ask);
}

TEST_CASE("RFC 7828 s3.2.1: a client that names a time itself is not heard, and told ours all the same") {
  Rig rig;
  rig.resolve(edns_query("a."), reply_for("a.").a(60).octets);
  const auto query = MessageBuilder(1, kRd).question("a.", kTypeA).opt(1232, 0, 0, {0, 11, 0, 2, 0xFF, 0xFF}).octets;
  const auto sent = rig.ask(query, Transport::Tcp);
  const auto parsed = parse(sent);
  REQUIRE(parsed.valid);
  CHECK(load16(sent, parsed.records.at(1).rdata_at) == 11);
  CHECK(load16(sent, parsed.records.at(1).rdata_at + 4) == 100);  // tcp-idle-timeout, 10 s
}
