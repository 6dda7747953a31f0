#include "dnscache/response.h"

#include "tests/support/catch.h"
#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;
using Seconds = std::chrono::seconds;

namespace {

constexpr TtlLimits kLimits{Seconds(0), Seconds(3600), Seconds(30)};

Prepared prepare(const MessageBuilder& reply, const TtlLimits& limits = kLimits) {
  const auto question = parse(reply.octets).question;
  auto prepared = prepare_answer(reply.octets, question, limits);
  REQUIRE(prepared);
  return *prepared;
}
MessageBuilder reply() {
  return MessageBuilder(0, kQr | kAa).question("a.example", kTypeA);
}

Parsed send(const Prepared& prepared, std::size_t limit, bool edns = false, std::uint32_t age = 0) {
  const auto packet = edns ? MessageBuilder(5, kRd).question("A.example", kTypeA).opt(4096).octets
                           : MessageBuilder(5, kRd).question("A.example", kTypeA).octets;
  Query query;
  REQUIRE(read_query(packet, query) == Reading::Query);
  ByteBuffer out(65535);
  ResponseForm form;
  form.limit = limit;
  form.age = age;
  const auto written = write_answer(prepared.answer(), query, form, out);
  CHECK(written.size <= limit);
  out.resize(written.size);
  const auto parsed = parse(out);
  CHECK(parsed.valid);
  CHECK(written.truncated == ((parsed.flags & kTc) != 0));
  CHECK(parsed.opt == edns);
  return parsed;
}

}  // namespace

TEST_CASE("RFC 2181 s9: additional and authority go before TC; then as many whole records as fit") {
  auto message = reply();
  for (std::uint8_t i = 0; i < 10; ++i)
    message.a(60, i);  // 16 octets each
  for (std::uint8_t i = 0; i < 10; ++i)
    message.a(60, i, 2);
  for (std::uint8_t i = 0; i < 10; ++i)
    message.a(60, i, 3);
  const auto prepared = prepare(message);
  const std::size_t head = kHeaderSize + 11 + 4;
  const auto counts = [&](std::size_t limit) {
    const auto sent = send(prepared, limit);
    return std::vector<int>{sent.counts[1], sent.counts[2], sent.counts[3], (sent.flags & kTc) != 0};
  };
  CHECK(counts(head + 480) == std::vector{10, 10, 10, 0});
  CHECK(counts(head + 479) == std::vector{10, 10, 0, 0});
  CHECK(counts(head + 319) == std::vector{10, 0, 0, 0});
  CHECK(counts(head + 160) == std::vector{10, 0, 0, 0});
  CHECK(counts(head + 159) == std::vector{9, 0, 0, 1});
  CHECK(counts(head + 15) == std::vector{0, 0, 0, 1});
  CHECK(send(prepared, head + 160 + 11, true).counts[1] == 10);
  CHECK(send(prepared, head + 160 + 10, true).counts[1] == 9);
}

TEST_CASE("RFC 4035 s3.1.1: a client with DO is told when the proof in the authority section did not fit") {
  auto message = reply().a(60);
  message.record(2, kTypeNsec, 60, ByteBuffer(600));
  message.record(3, kTypeA, 60, {192, 0, 2, 1});
  const auto prepared = prepare(message);
  const auto flags = [&](std::uint16_t edns_flags, std::size_t limit) {
    const auto packet = MessageBuilder(5, kRd).question("A.example", kTypeA).opt(4096, edns_flags).octets;
    Query query;
    REQUIRE(read_query(packet, query) == Reading::Query);
    ByteBuffer out(65535);
    ResponseForm form;
    form.limit = limit;
    const bool truncated = write_answer(prepared.answer(), query, form, out).truncated;
    CHECK(truncated == ((load16(out, 2) & kTc) != 0));
    return load16(out, 2) & kTc;
  };
  CHECK(flags(0, 512) == 0);
  CHECK(flags(kEdnsDo, 512) != 0);
  CHECK(flags(kEdnsDo, kHeaderSize + 15 + 16 + 612 + 11) == 0);  // only the additional record is left out
}

TEST_CASE("RFC 6891 s6.2.3, 9715: the size a client takes") {
  const auto limit = [](std::uint16_t payload, bool udp) {
    Query query;
    query.edns = Edns{.version = 0, .payload = payload, .dnssec_ok = false};
    return size_limit(query, udp, 1232);
  };
  CHECK(limit(100, true) == 512);
  CHECK(limit(800, true) == 800);
  CHECK(limit(4096, true) == 1232);
  CHECK(limit(512, false) == 65535);
  CHECK(size_limit(Query{}, true, 1232) == 512);
}

TEST_CASE("RFC 1035 s3.2.1, 2181 s8: TTLs are clamped, aged, and never wrap; 0 is not stretched") {
  const auto prepared = prepare(reply().a(100000, 1).record(1, 16, 2, {0}).record(1, 99, 0x80000000, {0}).a(50, 4, 3),
                                {Seconds(10), Seconds(3600), Seconds(30)});
  CHECK(prepared.ttl == Duration{0});
  const auto sent = send(prepared, 512, false, 20);
  CHECK(sent.records.at(0).ttl == 3580);
  CHECK(sent.records.at(1).ttl == 0);
  CHECK(sent.records.at(2).ttl == 0);
  CHECK(sent.records.at(3).ttl == 30);
  CHECK(prepare(reply().a(5), {Seconds(10), Seconds(3600), Seconds(30)}).ttl == Seconds(10));
  CHECK(prepare(reply().a(0), {Seconds(10), Seconds(3600), Seconds(30)}).ttl == Seconds(0));
  CHECK(prepare(reply().a(50).a(20, 1, 3)).ttl == Seconds(20));
}

TEST_CASE("RFC 6891 s6.2.6: the upstream's OPT is gone, and what came behind it") {
  const auto last = prepare(reply().a(60).a(60, 2, 3).opt(4096));
  CHECK(parse(last.message).counts[3] == 1);
  CHECK_FALSE(parse(last.message).opt);
  const auto first = prepare(reply().a(60).opt(4096).a(60, 2, 3));
  CHECK(parse(first.message).counts[3] == 0);
  CHECK(parse(first.message).valid);
  CHECK(send(first, 512, true).counts[3] == 1);
}

TEST_CASE("RFC 6891 s6.1.3: an extended rcode of the upstream is a failure") {
  const auto prepared = prepare(reply().opt(4096, 0, 0, {}, 1));
  CHECK(prepared.failure);
  CHECK(prepared.rcode == kBadVers);
}

TEST_CASE("RFC 2308 s2.2: a CNAME that ends nowhere is kept only with the SOA that says so") {
  const ByteBuffer target = {1, 'b', 0xC0, 12};
  CHECK(prepare(reply().record(1, kTypeCname, 60, target)).ttl == Seconds(0));
  CHECK(prepare(reply().record(1, kTypeCname, 60, target).soa(60, 20)).ttl == Seconds(20));
  CHECK(prepare(reply().record(1, kTypeCname, 15, target).a(60)).ttl == Seconds(15));
}

TEST_CASE("RFC 9267: counts in the header that the message does not hold are malformed, whatever they say") {
  for (std::size_t section = 1; section < 4; ++section) {
    auto message = reply().a(60);
    store16(message.octets, 4 + 2 * section, 0xFFFF);
    const auto question = MessageBuilder(0, 0).question("a.example", kTypeA).octets;
    const auto prepared = prepare_answer(message.octets, ByteView(question).subspan(kHeaderSize), kLimits);
    REQUIRE_FALSE(prepared);
    CHECK(prepared.error() == Defect::Malformed);
  }
}
