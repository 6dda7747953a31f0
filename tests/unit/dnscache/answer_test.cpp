#include "dnscache/answer.h"

#include <algorithm>
#include <ctime>
#include <limits>
#include <string>

#include "tests/support/catch.h"
#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;
using Seconds = std::chrono::seconds;

namespace {

constexpr TtlLimits kLimits{Seconds(0), Seconds(3600), Seconds(30)};
constexpr std::uint16_t kTypeRp = 17, kTypeMx = 15;

MessageBuilder reply(std::uint16_t type = kTypeA) {
  return MessageBuilder(0, kQr).question("A.example", type);
}
ByteBuffer question(std::uint16_t type = kTypeA) {
  return parse(reply(type).octets).question;
}
std::vector<std::uint32_t> ttls(const Prepared& prepared) {
  std::vector<std::uint32_t> out;
  for (const Record& record : parse(prepared.message).records)
    out.push_back(record.ttl);
  return out;
}
std::vector<int> types(const Prepared& prepared) {
  const auto parsed = parse(prepared.message);
  CHECK(parsed.valid);
  std::vector<int> out;
  for (const Record& record : parsed.records)
    out.push_back(record.type);
  return out;
}

}  // namespace

TEST_CASE("RFC 2181 s5.2: an RRset has one TTL, the least of its records'; other RRsets keep theirs") {
  const ByteBuffer elsewhere = {1, 'b', 0xC0, 12};
  auto message = reply().record(1, kTypeCname, 300, elsewhere);
  const auto target = static_cast<std::uint16_t>(0xC000 | (message.octets.size() - elsewhere.size()));
  for (const std::uint32_t ttl : {60U, 40U, 50U}) {
    message.count(1);
    put16(message.octets, target);
    put16(message.octets, kTypeA);
    put16(message.octets, kClassIn);
    put32(message.octets, ttl);
    put16(message.octets, 4);
    message.raw({192, 0, 2, static_cast<std::uint8_t>(ttl)});
  }
  message.a(20, 1, 3).a(90, 2, 3);
  const auto prepared = prepare_answer(message.octets, question(), kLimits);
  REQUIRE(prepared);
  CHECK(ttls(*prepared) == std::vector<std::uint32_t>{300, 40, 40, 40, 20, 20});
  CHECK(prepared->ttl == Seconds(20));
}

TEST_CASE("RFC 2181 s8: one TTL with its top bit set makes the whole RRset's 0") {
  const auto prepared = prepare_answer(reply().a(60, 1).a(0x80000000, 2).octets, question(), kLimits);
  REQUIRE(prepared);
  CHECK(ttls(*prepared) == std::vector<std::uint32_t>{0, 0});
  CHECK(prepared->ttl == Duration{0});
}

TEST_CASE(
    "RFC 4035 s3.2.1: without DO no signature is left, whatever the upstream sends; the others keep their names") {
  // The MX that stays points into the RRSIG that goes.
  const ByteBuffer signer = {0, 1, 8, 2, 0, 0, 0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 'o', 'r', 'g', 0, 7, 7};
  auto message = reply(kTypeMx).record(1, kTypeRrsig, 60, signer);
  const auto org = static_cast<std::uint8_t>(message.octets.size() - 7);
  message.record(1, kTypeMx, 50, {0, 10, 4, 'm', 'a', 'i', 'l', 0xC0, org});
  message.record(2, kTypeNsec, 40, {0}).record(2, kTypeNsec3, 40, {1, 2}).soa(30, 30).opt(4096);
  const auto whole = prepare_answer(message.octets, question(kTypeMx), kLimits, true);
  REQUIRE(whole);
  CHECK(types(*whole) == std::vector<int>{kTypeRrsig, kTypeMx, kTypeNsec, kTypeNsec3, kTypeSoa});
  const auto plain = prepare_answer(message.octets, question(kTypeMx), kLimits, false);
  REQUIRE(plain);
  CHECK(types(*plain) == std::vector<int>{kTypeMx, kTypeSoa});
  CHECK(ttls(*plain) == std::vector<std::uint32_t>{50, 30});
  const auto records = parse(plain->message).records;
  Name exchange;
  REQUIRE(Reader(plain->message, records[0].rdata_at + 2).name(&exchange));
  CHECK(same_name(exchange.view(), wire_name("mail.org")));
  CHECK(load32(plain->message, records[1].end() - 4) == 30);
}

TEST_CASE("RFC 6891 s6.1.2: the root's answer loses its signatures, too, though the OPT has the same owner") {
  const auto message = MessageBuilder(0, kQr)
                           .question(".", kTypeNs)
                           .record(1, kTypeNs, 60, {1, 'a', 0})
                           .record(1, kTypeRrsig, 60, ByteBuffer(30))
                           .opt(4096)
                           .octets;
  const auto prepared = prepare_answer(message, parse(message).question, kLimits, false);
  REQUIRE(prepared);
  CHECK(types(*prepared) == std::vector<int>{kTypeNs});
  CHECK(prepared->message.size() == kHeaderSize + 5 + 11 + 3);
}

TEST_CASE("RFC 4035 s3.2.1: signatures that were asked for by type are the answer") {
  const auto prepared =
      prepare_answer(reply(kTypeNsec).record(1, kTypeNsec, 60, {0}).octets, question(kTypeNsec), kLimits, false);
  REQUIRE(prepared);
  CHECK(types(*prepared) == std::vector<int>{kTypeNsec});
}

TEST_CASE("A message that without its signatures' names would be too long is not relayed in part") {
  // Every RP record points twice at a name of some 250 octets: 26 octets with pointers, over 500 without.
  const std::string label(60, 'x');
  auto message = reply(kTypeRp).record(1, kTypeRrsig, 60, wire_name(label + "." + label + "." + label + "." + label));
  const auto name = static_cast<std::uint8_t>(message.octets.size() - 245);
  for (int i = 0; i < 200; ++i)
    message.record(1, kTypeRp, 60, {0xC0, name, 0xC0, name});
  REQUIRE(prepare_answer(message.octets, question(kTypeRp), kLimits, true));
  const auto plain = prepare_answer(message.octets, question(kTypeRp), kLimits, false);
  REQUIRE_FALSE(plain);
  CHECK(plain.error() == Defect::Malformed);
}

TEST_CASE("RFC 3597 s4: an answer of an unknown type is relayed octet by octet, not compressed anew") {
  ByteBuffer rdata(3000);
  for (std::size_t i = 0; i < rdata.size(); ++i)
    rdata[i] = static_cast<std::uint8_t>(i * 7);
  const auto message = reply(65400).record(1, 65400, 60, rdata).octets;
  const auto prepared = prepare_answer(message, question(65400), kLimits);
  REQUIRE(prepared);
  CHECK(prepared->message == message);
}

TEST_CASE("A long chain of pointers before an owner's name is not followed for every record of its set") {
  constexpr std::size_t kFarthest = 0x3FFF;  // that a pointer reaches
  constexpr std::uint16_t kTxt = 16;
  const auto pointer = [](std::size_t to) {
    return ByteBuffer{static_cast<std::uint8_t>(0xC0 | to >> 8), static_cast<std::uint8_t>(to)};
  };
  // The first owner leads through the whole of a chain when `far`; the others lead to the same name by ways of their
  // own.
  const auto message = [&](bool far) {
    auto out = reply();
    const std::size_t begin = out.octets.size() + 12;
    constexpr std::size_t kWays = 2000;
    ByteBuffer rdata;
    for (std::size_t i = 0; begin + rdata.size() + 1 <= kFarthest; ++i) {
      const ByteBuffer next = pointer(i < kWays ? std::size_t{kHeaderSize} : begin + rdata.size() - 2);
      rdata.insert(rdata.end(), next.begin(), next.end());
    }
    out.record(1, kTxt, 60, rdata);
    out.record_of(pointer(far ? begin + rdata.size() - 2 : begin), 1, kTypeA, 60, {192, 0, 2, 1});
    for (std::size_t i = 1; i < kWays; ++i)
      out.record_of(pointer(begin + 2 * i), 1, kTypeA, 60, {192, 0, 2, 1});
    return out.octets;
  };
  const auto least_time = [&](const ByteBuffer& octets) {
    std::clock_t least = std::numeric_limits<std::clock_t>::max();
    for (int i = 0; i < 5; ++i) {
      const std::clock_t begin = std::clock();
      const auto prepared = prepare_answer(octets, question(), kLimits);
      least = std::min(least, std::clock() - begin);
      REQUIRE(prepared);
      REQUIRE(prepared->ttl_at.size() == 2001);
    }
    return static_cast<double>(least);
  };
  CHECK(least_time(message(true)) < 10 * least_time(message(false)));
}
