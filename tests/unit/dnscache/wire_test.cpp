#include "dnscache/wire.h"

#include <string>

#include "tests/support/catch.h"
#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

namespace {

bool reads(const ByteBuffer& name_octets, std::size_t at = 0, Name* out = nullptr) {
  ByteBuffer message(kHeaderSize);
  message.insert(message.end(), name_octets.begin(), name_octets.end());
  Reader reader(message, kHeaderSize + at);
  return reader.name(out);
}

}  // namespace

TEST_CASE("RFC 1035 s3.1: names of at most 255 octets, labels of at most 63") {
  CHECK(reads({0}));
  CHECK(reads(wire_name("web.example")));
  CHECK_FALSE(reads({3, 'w', 'e'}));
  CHECK_FALSE(reads({3, 'w', 'e', 'b'}));  // no root
  CHECK_FALSE(reads({}));
  CHECK_FALSE(reads({0x40, 0}));
  CHECK_FALSE(reads({0x80, 0}));
  const std::string label(63, 'x');
  CHECK(reads(wire_name(label + "." + label + "." + label + "." + std::string(61, 'x'))));        // 255
  CHECK_FALSE(reads(wire_name(label + "." + label + "." + label + "." + std::string(62, 'x'))));  // 256
}

TEST_CASE("RFC 1035 s4.1.4, 9267 s2: pointers go strictly backwards and behind the header") {
  Name name;
  CHECK(reads({1, 'a', 0, 1, 'b', 0xC0, 12}, 3, &name));
  CHECK(same_name(name.view(), wire_name("b.a")));
  CHECK_FALSE(reads({0xC0, 12}));                       // itself
  CHECK_FALSE(reads({0xC0, 14, 0}));                    // forwards
  CHECK_FALSE(reads({0xC0, 0}));                        // the header
  CHECK_FALSE(reads({0xC0}));                           // cut
  CHECK_FALSE(reads({1, 'a', 0xC0, 12}));               // a loop through its own labels
  CHECK_FALSE(reads({1, 'a', 0xC0, 16, 0xC0, 12}, 4));  // there and back
}

TEST_CASE("A message's pointers are followed at most as often as it has octets") {
  ByteBuffer message(kHeaderSize);
  message.push_back(0);
  for (std::size_t i = 0; i < 120; ++i) {  // each points to the one before
    const std::size_t target = i == 0 ? kHeaderSize : message.size() - 2;
    put16(message, static_cast<std::uint16_t>(0xC000U | target));
  }
  std::size_t read = 0;
  Reader reader(message, kHeaderSize + 1);
  while (reader.name())
    ++read;
  CHECK(reader.failed());
  CHECK(read < 30);  // 1 + 2 + ... + n hops within 253
  CHECK(read > 10);
}

TEST_CASE("RFC 9267 s3: RDATA past the end, names past the RDATA, and short SOAs are malformed") {
  const auto reads_record = [](const MessageBuilder& message) { return parse(message.octets).valid; };
  const auto base = [] { return MessageBuilder(0, kQr).question("a.", kTypeA); };
  CHECK(reads_record(base().a(1)));
  CHECK(reads_record(base().soa(1, 1)));
  CHECK(reads_record(base().record(1, kTypeCname, 1, {0xC0, 12})));
  CHECK_FALSE(reads_record(base().record(1, kTypeCname, 1, {0xC0, 12, 0})));
  CHECK_FALSE(reads_record(base().record(1, kTypeCname, 1, {1})));
  CHECK_FALSE(reads_record(base().record(1, kTypeSoa, 1, {0, 0, 1})));
  CHECK_FALSE(reads_record(base().record(1, kTypeA, 1, {1, 2, 3})));
  CHECK_FALSE(reads_record(base().record(1, kTypeAaaa, 1, {1, 2, 3})));
  CHECK_FALSE(reads_record(base().record(1, 33, 1, {0, 0, 0, 0})));
  CHECK(reads_record(base().record(1, 65280, 1, {9, 9, 9})));  // RFC 3597: unknown types pass
  auto cut = base().a(1);
  cut.octets[cut.octets.size() - 5] = 200;
  CHECK_FALSE(reads_record(cut));
}

TEST_CASE("RFC 1035 s5.1: presentation names") {
  const auto same = [](const char* text, const ByteBuffer& octets) {
    const auto name = Name::parse(text);
    return name && std::ranges::equal(name->view(), octets);
  };
  CHECK(same(".", {0}));
  CHECK(same("A.b", {1, 'a', 1, 'b', 0}));
  CHECK(same("a.b.", {1, 'a', 1, 'b', 0}));
  CHECK(same("a\\.b\\000", {4, 'a', '.', 'b', 0, 0}));
  for (const std::string& bad :
       {std::string(), std::string("a..b"), std::string(".a"), std::string("a\\"), std::string("a\\25"),
        std::string("a\\256"), std::string(64, 'x'), std::string("..")}) {
    CAPTURE(bad);
    CHECK_FALSE(Name::parse(bad));
  }
  std::string longest;
  for (int i = 0; i < 127; ++i)
    longest += "x.";
  CHECK(Name::parse(longest));
  CHECK_FALSE(Name::parse("y." + longest));
}

TEST_CASE("RFC 2181 s8: a TTL with its top bit set is 0") {
  CHECK(effective_ttl(0x80000001) == 0);
  CHECK(effective_ttl(0x7FFFFFFF) == 0x7FFFFFFF);
}
