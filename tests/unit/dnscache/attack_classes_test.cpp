// The classes of attacks and accidents that have hit other caches, one test each, for those that end in the core. Where
// the others are held: guessable IDs and ports, the wrong sender, closing within a callback, TC over TCP and the budget
// of attempts in upstream_test and upstream_pool_test; slots, floods and datagrams of no octets in server_test and
// tcp_test; pointer loops in wire_test; colliding keys and pinned failures in cache_test; packets that kill in the fuzz
// targets; clocks, crowds and sizes end to end in test_dns_faults.py.
#include <algorithm>
#include <string>

#include "dnscache/answer.h"
#include "dnscache/hash.h"

#include "tests/unit/dnscache/forwarder_rig.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

namespace {

std::uint16_t asked_type(const ByteBuffer& message) {
  return load16(message, 12 + wire_name("a.").size());
}

}  // namespace

TEST_CASE("Mismatched answer: what is kept is known by our question, never by the answer's") {
  Rig rig;
  for (const auto& forged : {reply_for("bank.").a(60), reply_for("a.", 0, kTypeAaaa).a(60),
                             MessageBuilder(0, kQr | kRa).question("a.", kTypeA, 3).a(60), MessageBuilder(0, kQr).a(60),
                             MessageBuilder(0, kQr).question("a.", kTypeA).question("bank.", kTypeA).a(60)}) {
    CHECK(parse(rig.resolve(query_for("a."), forged.octets)).rcode() == kServFail);
    CHECK(rig.ask(query_for("bank.")).empty());
    REQUIRE(rig.last.ask);
    rig.forwarder.on_failure(rig.last.ask->flight, Failure::Timeout, rig.now);
    rig.now += std::chrono::minutes(1);
  }
}

TEST_CASE("A query as an answer, an answer as a query: QR decides, and neither has an effect") {
  Rig rig;
  CHECK(parse(rig.resolve(query_for("a."), query_for("a."))).rcode() == kServFail);
  rig.now += std::chrono::minutes(1);
  CHECK(rig.ask(reply_for("b.").a(60).octets).empty());
  CHECK(rig.last.dropped);
  CHECK_FALSE(rig.last.ask);
  CHECK(rig.ask(query_for("b.")).empty());
  CHECK(rig.last.ask);
}

TEST_CASE("Birthday: however many ask, one question is under way, and each is answered once") {
  Rig rig;
  FlightId flight = 0;
  for (std::uint16_t id = 0; id < 200; ++id) {
    CHECK(rig.ask(query_for("a.", id)).empty());
    if (rig.last.ask) flight = rig.last.ask->flight;
  }
  CHECK(rig.forwarder.flights() == 1);
  const auto sent = rig.forwarder.on_reply(flight, reply_for("a.").a(60).octets, rig.now);
  std::vector<bool> answered(200);
  for (const Delivery& delivery : sent)
    answered.at(load16(delivery.message, 0)) = true;
  CHECK(sent.size() == 200);
  CHECK(std::ranges::count(answered, true) == 200);
}

TEST_CASE("Unwanted replies, a thousand of them, change nothing that a client could see") {
  Rig rig;
  const auto before = rig.resolve(query_for("a."), reply_for("a.").a(60).octets);
  CHECK(rig.ask(query_for("b.")).empty());
  const auto pending = rig.last.ask.value().flight;
  for (FlightId id = pending + 1; id < pending + 1001; ++id)
    CHECK(rig.forwarder.on_reply(id, reply_for("a.").a(60, 66).octets, rig.now).empty());
  CHECK(rig.forwarder.counters().late_replies == 1000);
  CHECK(rig.ask(query_for("a.")) == before);
  CHECK(rig.forwarder.flights() == 1);
}

TEST_CASE("RFC 1035 s7.4: unsolicited records: nothing is learned from an answer but the answer") {
  Rig rig;
  // Authority and additional claim another name and its address.
  auto reply = reply_for("a.").a(60);
  reply.record_of(wire_name("bank."), 2, kTypeNs, 60, {0xC0, 12});
  reply.record_of(wire_name("bank."), 3, kTypeA, 60, {192, 0, 2, 66});
  CHECK(parse(rig.resolve(query_for("a."), reply.octets)).counts[3] == 1);
  for (const std::uint16_t type : {kTypeA, kTypeNs}) {
    CHECK(rig.ask(query_for("bank.", 1, type)).empty());
    CHECK(rig.last.ask);
  }
}

TEST_CASE("Huge answers: kept as they came, so that sending one again is a copy") {
  Rig rig;
  auto reply = reply_for("a.");
  for (int i = 0; i < 3500; ++i)
    reply.a(60, static_cast<std::uint8_t>(i));
  CHECK(rig.ask(query_for("a."), Transport::Tcp).empty());
  const auto sent = rig.forwarder.on_reply(rig.last.ask.value().flight, reply.octets, rig.now);
  REQUIRE(sent.size() == 1);
  const auto again = rig.ask(query_for("a."), Transport::Tcp);
  for (const ByteBuffer* each : {&sent[0].message, &again})
    CHECK(std::equal(each->begin() + kHeaderSize, each->end(), reply.octets.begin() + kHeaderSize, reply.octets.end()));
}

TEST_CASE("A cache key is all that changes the answer: case and ID apart, no two questions share one") {
  Rig rig;
  std::vector<ByteBuffer> queries;
  for (const std::uint16_t flags : {kRd, static_cast<std::uint16_t>(kRd | kCd), std::uint16_t{0}}) {
    for (const std::uint16_t type : {kTypeA, kTypeAaaa}) {
      for (const std::uint16_t qclass : {std::uint16_t{1}, std::uint16_t{3}}) {
        for (const std::uint16_t edns : {std::uint16_t{0}, kEdnsDo})
          queries.push_back(MessageBuilder(1, flags).question("a.", type, qclass).opt(1232, edns).octets);
      }
    }
  }
  for (const ByteBuffer& query : queries) {
    CHECK(rig.ask(query).empty());
    CHECK(rig.last.ask);
    CHECK(asked_type(query) == asked_type(ByteBuffer(rig.last.ask->query.begin(), rig.last.ask->query.end())));
  }
  CHECK(rig.forwarder.flights() == queries.size());
}

TEST_CASE("Names that share a bucket under one seed do not under another") {
  constexpr std::uint64_t kBuckets = 1024;
  std::vector<ByteBuffer> chosen;
  for (std::uint32_t n = 0; chosen.size() < 200; ++n) {
    const auto name = wire_name("n" + std::to_string(n) + ".");
    if (hash_octets(name, 42) % kBuckets == 7) chosen.push_back(name);
  }
  std::vector<int> load(kBuckets);
  for (const ByteBuffer& name : chosen)
    ++load[hash_octets(name, 43) % kBuckets];
  CHECK(std::ranges::max(load) < 8);
}

TEST_CASE("Refused before the cache is looked at: a transfer is never answered from what another question left") {
  Rig rig;
  rig.resolve(query_for("a."), reply_for("a.").a(60).octets);
  for (const std::uint16_t type : {kTypeAxfr, kTypeIxfr}) {
    for (const Transport transport : {Transport::Udp, Transport::Tcp})
      CHECK(parse(rig.ask(query_for("a.", 1, type), transport)).rcode() == kRefused);
  }
  CHECK(rig.forwarder.counters().asked == 1);
}

TEST_CASE("Amplification: over UDP no answer is longer than the client takes, nor than 1232 octets") {
  Rig rig;
  auto reply = reply_for("a.");
  for (int i = 0; i < 200; ++i)
    reply.a(60, static_cast<std::uint8_t>(i));
  rig.resolve(query_for("a."), reply.octets);
  for (const unsigned payload : {0U, 512U, 1000U, 1232U, 4096U, 65535U}) {
    const auto sent = rig.ask(edns_query("a.", static_cast<std::uint16_t>(payload)));
    CHECK(sent.size() <= std::clamp<std::size_t>(payload, 512, 1232));
  }
  CHECK(rig.ask(query_for("a.")).size() <= 512);
}

TEST_CASE("Failures are remembered: an upstream that fails is not asked by every client's retry") {
  Rig rig;
  CHECK(rig.ask(query_for("a.")).empty());
  rig.forwarder.on_failure(rig.last.ask.value().flight, Failure::Timeout, rig.now);
  for (int retry = 0; retry < 100; ++retry)
    CHECK(parse(rig.ask(query_for("a."))).rcode() == kServFail);
  CHECK(rig.forwarder.counters().asked == 1);
}

TEST_CASE(
    "RFC 2181 s11: names are octets: zeros, dots in labels, and 255 of them are told apart and come back as they "
    "were") {
  Rig rig;
  std::vector<ByteBuffer> names = {{1, 0, 0},           {2, 0, 'a', 0}, {3, 'a', '.', 'b', 0},
                                   {1, 'a', 1, 'b', 0}, {1, 0xE9, 0},   {1, 0xC9, 0}};
  ByteBuffer longest;
  for (const int size : {63, 63, 63, 61}) {
    longest.push_back(static_cast<std::uint8_t>(size));
    longest.insert(longest.end(), static_cast<std::size_t>(size), 'x');
  }
  longest.push_back(0);
  REQUIRE(longest.size() == kMaxName);
  names.push_back(longest);
  for (std::size_t i = 0; i < names.size(); ++i) {
    MessageBuilder query(1, kRd), reply(0, kQr | kRa);
    for (MessageBuilder* each : {&query, &reply}) {
      each->count(0);
      each->raw(names[i]);
      put16(each->octets, kTypeA);
      put16(each->octets, kClassIn);
    }
    const auto sent = rig.resolve(query.octets, reply.a(60, static_cast<std::uint8_t>(i)).octets);
    CHECK(parse(sent).question == parse(query.octets).question);
  }
  CHECK(rig.forwarder.counters().asked == names.size());
}

TEST_CASE("Wrong classes, an OPT among the answers, RDATA past the end: not relayed, not kept") {
  Rig rig;
  for (const auto& bad :
       {reply_for("a.").a(60).record(1, kTypeA, 60, {192, 0, 2, 1}, 3), reply_for("a.").record(1, kTypeOpt, 0, {}),
        reply_for("a.").record(2, kTypeOpt, 0, {}), reply_for("a.").record(1, kTypeCname, 60, {63})}) {
    const auto sent = parse(rig.resolve(query_for("a."), bad.octets));
    CHECK(sent.rcode() == kServFail);
    CHECK(sent.counts[1] == 0);
    rig.now += std::chrono::minutes(1);
  }
}
