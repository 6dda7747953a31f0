// RFC 1035 s4.1.4: an answer written anew says what it said, in fewer octets.
#include "dnscache/compact.h"

#include <string>

#include "dnscache/presentation.h"

#include "tests/support/catch.h"
#include "tests/support/random.h"
#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

namespace {

constexpr std::uint16_t kTypeMx = 15, kTypeSrv = 33;

// A record whose names are written out.
void add(MessageBuilder& message, std::string_view owner, std::uint16_t type, const ByteBuffer& rdata) {
  message.count(1);
  message.raw(wire_name(owner));
  put16(message.octets, type);
  put16(message.octets, kClassIn);
  put32(message.octets, 30);
  put16(message.octets, static_cast<std::uint16_t>(rdata.size()));
  message.raw(rdata);
}
ByteBuffer with_name(ByteBuffer before, std::string_view name) {
  const auto wire = wire_name(name);
  before.insert(before.end(), wire.begin(), wire.end());
  return before;
}
ByteBuffer question_of(const MessageBuilder& message) {
  return parse(message.octets).question;
}
std::vector<std::string> lines(ByteView message) {
  std::vector<std::string> out;
  for (const RecordText& each : record_texts(message, 1, 0))
    out.push_back(each.name + ' ' + std::to_string(each.ttl) + ' ' + each.type + ' ' + each.data);
  return out;
}

}  // namespace

TEST_CASE("a chain of names is written by its new labels and a pointer, and reads as before") {
  auto message = MessageBuilder(7, kQr).question("www.shop.example.org", kTypeA);
  add(message, "www.shop.example.org", kTypeCname, wire_name("edge.shop.example.org"));
  add(message, "edge.shop.example.org", kTypeCname, wire_name("a.edge.shop.example.org"));
  add(message, "a.edge.shop.example.org", kTypeA, {192, 0, 2, 1});
  const auto anew = compact(message.octets, question_of(message), true);
  REQUIRE(anew);
  CHECK(parse(*anew).valid);
  CHECK(lines(*anew) == lines(message.octets));
  // Header and question; an owner of 2, a target of "edge" and a pointer; likewise "a"; an address.
  CHECK(anew->size() == kHeaderSize + 26 + (2 + 10 + 5 + 2) + (2 + 10 + 2 + 2) + (2 + 10 + 4));
}

TEST_CASE("RFC 3597 s4: names in the RDATA of newer types are not compressed, their owners are") {
  auto message = MessageBuilder(7, kQr).question("_dns._udp.example.org", kTypeSrv);
  add(message, "_dns._udp.example.org", kTypeSrv, with_name({0, 1, 0, 2, 0, 53}, "ns.example.org"));
  add(message, "_dns._udp.example.org", kTypeMx, with_name({0, 5}, "ns.example.org"));
  const auto anew = compact(message.octets, question_of(message), true);
  REQUIRE(anew);
  CHECK(lines(*anew) == lines(message.octets));
  const auto records = parse(*anew).records;
  CHECK(records.at(0).rdata_size == 6 + wire_name("ns.example.org").size());
  CHECK(records.at(1).rdata_size == 2 + 2);  // a pointer to the SRV's target
}

TEST_CASE("case is kept, and does not stand in the way of a pointer") {
  auto message = MessageBuilder(7, kQr).question("Web.Example.ORG", kTypeA);
  add(message, "wEB.example.org", kTypeCname, wire_name("Other.test"));
  add(message, "oTHER.test", kTypeA, {192, 0, 2, 1});
  const auto anew = compact(message.octets, question_of(message), true);
  REQUIRE(anew);
  CHECK(parse(*anew).question == question_of(message));
  CHECK(record_texts(*anew, 1, 0).at(0).data == "Other.test");
  CHECK(record_texts(*anew, 1, 0).at(1).name == "Other.test");
}

TEST_CASE("a property: any message of random names reads the same, and never grows") {
  auto random = lastlight::test::seeded_random("the compressor");
  for (int round = 0; round < 2000; ++round) {
    const auto name = [&] {
      std::string out;
      for (std::size_t labels = 1 + random() % 5; labels > 0; --labels) {
        if (!out.empty()) out += '.';
        out += std::string(1 + random() % (random() % 8 == 0 ? 60 : 2), static_cast<char>('a' + random() % 3));
      }
      return out;
    };
    auto message = MessageBuilder(7, kQr).question(name(), kTypeA);
    for (std::size_t records = random() % 40; records > 0; --records) {
      switch (random() % 4) {
        case 0:
          add(message, name(), kTypeA, {192, 0, 2, 1});
          break;
        case 1:
          add(message, name(), kTypeCname, wire_name(name()));
          break;
        case 2:
          add(message, name(), kTypeMx, with_name({0, 1}, name()));
          break;
        default:
          add(message, name(), kTypeSrv, with_name({0, 1, 0, 2, 0, 3}, name()));
      }
    }
    const auto anew = compact(message.octets, question_of(message), true);
    REQUIRE(anew);
    REQUIRE(parse(*anew).valid);
    REQUIRE(lines(*anew) == lines(message.octets));
    REQUIRE(anew->size() <= message.octets.size());
    // Written once more it stays as it is: nothing that could be pointed at was written out.
    const auto again = compact(*anew, question_of(message), true);
    REQUIRE(again);
    REQUIRE(again->size() <= anew->size());
  }
}

TEST_CASE("RFC 1035 s4.1.4: beyond the reach of a pointer names are written out") {
  auto message = MessageBuilder(7, kQr).question("a.test", 16);
  add(message, "a.test", 16, ByteBuffer(17000, 1));
  add(message, "late.example", kTypeCname, wire_name("x.late.example"));
  add(message, "x.late.example", kTypeA, {192, 0, 2, 1});
  const auto anew = compact(message.octets, question_of(message), true);
  REQUIRE(anew);
  CHECK(lines(*anew) == lines(message.octets));
}
