// RFC 1035 s5.1, RFC 3597 s5: what people read of names, types and records.
#include "dnscache/presentation.h"

#include "tests/support/catch.h"
#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

namespace {

// The data of the one record of such an answer.
std::string data(std::uint16_t type, const ByteBuffer& rdata) {
  auto message = MessageBuilder(0, kQr).question("www.example.test", type);
  message.record(1, type, 30, rdata);
  const auto texts = record_texts(message.octets, 1, 0);
  REQUIRE(texts.size() == 1);
  CHECK(texts[0].name == "www.example.test");
  return texts[0].data;
}

ByteBuffer bytes(std::string_view text) {
  return {text.begin(), text.end()};
}

}  // namespace

TEST_CASE("names are written so that parsing them gives the same octets") {
  CHECK(name_text(wire_name("")) == ".");
  CHECK(name_text(wire_name("Web.example")) == "Web.example");
  ByteBuffer odd{6, 'a', '.', '\\', ' ', 0x00, 0xFF, 0};
  CHECK(name_text(odd) == R"(a\046\092\032\000\255)");
  const auto back = Name::parse(name_text(odd));
  REQUIRE(back);
  CHECK(std::ranges::equal(back->view(), odd));
}

TEST_CASE("types by name, by number, and those nobody knows") {
  CHECK(type_text(28) == "AAAA");
  CHECK(type_text(65) == "HTTPS");
  CHECK(type_text(65400) == "TYPE65400");
  CHECK(parse_type("aaaa") == 28);
  CHECK(parse_type("type28") == 28);
  CHECK(parse_type("TYPE65535") == 65535);
  for (const auto* wrong : {"", "TYPE", "TYPE65536", "TYPE-1", "TYPE1x", "AA", "28"})
    CHECK_FALSE(parse_type(wrong));
  for (std::uint32_t type = 0; type < 65536; ++type)
    REQUIRE(parse_type(type_text(static_cast<std::uint16_t>(type))) == type);
  CHECK(rcode_text(kNxDomain) == "NXDOMAIN");
  CHECK(rcode_text(23) == "RCODE23");
}

TEST_CASE("records as zone files have them") {
  CHECK(data(kTypeA, {192, 0, 2, 1}) == "192.0.2.1");
  CHECK(data(kTypeAaaa, {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}) == "2001:db8::1");
  CHECK(data(kTypeCname, {0xC0, 0x0C}) == "www.example.test");
  CHECK(data(15, {0, 10, 2, 'm', 'x', 0xC0, 0x10}) == "10 mx.example.test");
  CHECK(data(33, {0, 1, 0, 2, 0x14, 0x46, 1, 'a', 0}) == "1 2 5190 a");
  CHECK(data(16, bytes("\x03"
                       "a b\x02"
                       "\"\\")) == R"("a b" "\034\092")");
  CHECK(data(16, {}).empty());
  CHECK(data(16, {9, 'a'}) == R"(\# 2 0961)");  // a string longer than its data
  CHECK(data(65400, {0xDE, 0xAD}) == R"(\# 2 dead)");
  CHECK(data(65400, {}) == R"(\# 0)");
  auto negative = MessageBuilder(0, kQr | kNxDomain).question("x.test", kTypeA);
  negative.soa(30, 5);
  const auto soa = record_texts(negative.octets, 2, 10);
  REQUIRE(soa.size() == 1);
  CHECK(soa[0].data == "x.test x.test 7 7 7 7 5");
  CHECK(soa[0].ttl == 20);
  CHECK(record_texts(negative.octets, 2, 100)[0].ttl == 0);
  CHECK(record_texts(negative.octets, 1, 0).empty());
}

TEST_CASE("a message that ends too early gives what could be read") {
  auto message = MessageBuilder(0, kQr).question("x.test", kTypeA);
  message.a(30, 1).a(30, 2);
  for (std::size_t size = 0; size < message.octets.size(); ++size)
    CHECK(record_texts(ByteView(message.octets).first(size), 1, 0).size() <= 1);
  CHECK(record_texts(message.octets, 1, 0).size() == 2);
}
