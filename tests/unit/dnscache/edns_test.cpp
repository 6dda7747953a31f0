#include "dnscache/edns.h"

#include "dnscache/cookies.h"
#include "dnscache/hash.h"
#include "dnscache/query.h"

#include "tests/support/catch.h"
#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;
using Seconds = std::chrono::seconds;

namespace {

ByteBuffer from_hex(std::string_view text) {
  const auto digit = [](char c) { return static_cast<std::uint8_t>(c <= '9' ? c - '0' : c - 'a' + 10); };
  ByteBuffer out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(static_cast<std::uint8_t>(digit(text[i]) << 4 | digit(text[i + 1])));
  return out;
}

Cookie cookie_of(const ByteBuffer& octets) {
  Cookie cookie;
  std::ranges::copy(octets, cookie.octets.begin());
  cookie.size = static_cast<std::uint8_t>(octets.size());
  return cookie;
}

ByteBuffer option(std::uint16_t code, const ByteBuffer& octets) {
  ByteBuffer out;
  put16(out, code);
  put16(out, static_cast<std::uint16_t>(octets.size()));
  out.insert(out.end(), octets.begin(), octets.end());
  return out;
}

Reading read_with(const ByteBuffer& options, Query& query, std::uint8_t version = 0) {
  static ByteBuffer packet;
  packet = MessageBuilder(1, kRd).question("a.", kTypeA).opt(1232, 0, version, options).octets;
  return read_query(packet, query);
}

CookieSecret secret_of(std::string_view hex) {
  CookieSecret secret{};
  std::ranges::copy(from_hex(hex), secret.begin());
  return secret;
}

ByteBuffer octets_of(const Cookie& cookie) {
  return {cookie.view().begin(), cookie.view().end()};
}

}  // namespace

TEST_CASE("SipHash-2-4: the vectors of its authors") {
  std::array<std::uint8_t, 16> key{};
  ByteBuffer text;
  for (std::uint8_t i = 0; i < 16; ++i)
    key[i] = i;
  for (std::uint8_t i = 0; i < 15; ++i)
    text.push_back(i);
  CHECK(siphash24(text, key) == 0xA129CA6149BE45E5ULL);
  CHECK(siphash24({}, key) == 0x726FDB47DD0E0E31ULL);
}

TEST_CASE("RFC 9018 appendix A: the server cookies that every implementation makes") {
  const Instant then{Seconds(1559731985)};
  const auto address = *IpAddress::parse("198.51.100.100");
  const Cookies cookies(secret_of("e5e973e5a6b2a43f48e7dc849e37bfcf"));
  Cookie cookie = cookie_of(from_hex("2464c4abcf10c957"));
  CHECK(cookies.renew(cookie, address, then) == Cookies::Seen::ClientOnly);
  CHECK(octets_of(cookie) == from_hex("2464c4abcf10c957010000005cf79f111f8130c3eee29480"));

  const Cookies over6(secret_of("445536bcd2513298075a5d379663c962"));
  Cookie six = cookie_of(from_hex("22681ab97d52c298"));
  over6.renew(six, *IpAddress::parse("2001:db8:220:1:59de:d0f4:8769:82b8"), Instant{Seconds(1559741961)});
  CHECK(octets_of(six) == from_hex("22681ab97d52c298010000005cf7c609a6bb79d16625507a"));
}

TEST_CASE("RFC 9018 s4.3: a good cookie is kept for half an hour, good for an hour, and bad for another address") {
  const Cookies cookies(secret_of("e5e973e5a6b2a43f48e7dc849e37bfcf"));
  const auto address = *IpAddress::parse("192.0.2.1");
  const Instant start{Seconds(5000)};
  Cookie first = cookie_of(from_hex("0102030405060708"));
  cookies.renew(first, address, start);
  const auto seen = [&](const IpAddress& from, Duration later, bool same) {
    Cookie again = first;
    const auto result = cookies.renew(again, from, start + later);
    CHECK((octets_of(again) == octets_of(first)) == same);
    CHECK(again.size == 24);
    return result;
  };
  CHECK(seen(address, Seconds(1800), true) == Cookies::Seen::Good);
  CHECK(seen(address, Seconds(1801), false) == Cookies::Seen::Good);
  CHECK(seen(address, Seconds(3601), false) == Cookies::Seen::Bad);
  CHECK(seen(address, Seconds(-301), false) == Cookies::Seen::Bad);
  CHECK(seen(*IpAddress::parse("192.0.2.2"), Seconds(0), false) == Cookies::Seen::Bad);
  for (std::size_t i = 0; i < first.size; ++i) {
    Cookie changed = first;
    changed.octets[i] ^= 1;
    CHECK(cookies.renew(changed, address, start) == Cookies::Seen::Bad);
  }
}

TEST_CASE("RFC 7873 s5.2.2: a cookie of 8 or 16 to 40 octets, the first of several; any other length is FORMERR") {
  for (std::size_t size = 0; size <= 48; ++size) {
    Query query;
    const bool legal = size == 8 || (size >= 16 && size <= 40);
    CHECK((read_with(option(10, ByteBuffer(size, 7)), query) == Reading::Query) == legal);
    REQUIRE(query.edns);
    CHECK(query.edns->cookie.size == (legal ? size : 0));
  }
  ByteBuffer two = option(10, ByteBuffer(8, 1));
  const ByteBuffer second = option(10, ByteBuffer(16, 2));
  two.insert(two.end(), second.begin(), second.end());
  Query query;
  CHECK(read_with(two, query) == Reading::Query);
  CHECK(octets_of(query.edns->cookie) == ByteBuffer(8, 1));
}

TEST_CASE(
    "RFC 6891 s6.1.2: options past the end are FORMERR with our OPT; unknown ones and other versions' are not read") {
  Query query;
  CHECK(read_with({0, 10, 0, 9, 1}, query) == Reading::Malformed);
  CHECK(query.edns);
  CHECK(read_with({0, 10, 0}, query) == Reading::Malformed);
  CHECK(read_with(option(65001, ByteBuffer(100, 3)), query) == Reading::Query);
  CHECK(read_with({0, 10, 0, 9, 1}, query, 1) == Reading::Query);
  CHECK(query.edns->version == 1);
}

TEST_CASE("RFC 6891 s6.1: a bare OPT at the end says what it says beside an option or a record that nobody knows") {
  const std::uint8_t version = GENERATE(std::uint8_t{0}, std::uint8_t{1});
  const std::uint16_t flags = GENERATE(std::uint16_t{0}, std::uint16_t{0x8000}, std::uint16_t{0x4000});
  const auto asked = [&] { return MessageBuilder(7, kRd).question("example.org", kTypeA); };
  Query bare;
  REQUIRE(read_query(asked().opt(1232, flags, version).octets, bare) == Reading::Query);
  Query other;
  REQUIRE(read_query(asked().opt(1232, flags, version, option(65001, {})).octets, other) == Reading::Query);
  REQUIRE(bare.edns);
  REQUIRE(other.edns);
  CHECK(bare.edns->version == other.edns->version);
  CHECK(bare.edns->payload == other.edns->payload);
  CHECK(bare.edns->dnssec_ok == other.edns->dnssec_ok);
  ByteBuffer longer = asked().opt(1232, flags, version).octets;
  longer.push_back(0);
  CHECK(read_query(longer, bare) ==
        read_query(asked().opt(1232).octets, other));  // what follows the last record is nobody's
  ByteBuffer elsewhere = asked().opt(1232, flags, version).octets;
  store16(elsewhere, 8, 1);  // in the authority section
  store16(elsewhere, 10, 0);
  CHECK(read_query(elsewhere, bare) == Reading::Malformed);
}

TEST_CASE("RFC 7828 s3.2.1, 8914 s2: what we write is as long as was said, and says it") {
  const ByteBuffer cookie(24, 9);
  const OptForm form{.payload = 1232,
                     .rcode = kBadVers,
                     .dnssec_ok = true,
                     .ede = Ede::NotReady,
                     .keepalive = std::uint16_t{100},
                     .cookie = cookie};
  ByteBuffer message = MessageBuilder(1, kQr).question("a.", kTypeA).octets;
  store16(message, 10, 1);
  const std::size_t at = message.size();
  message.resize(at + form.size());
  write_opt(form, MutableByteView(message).subspan(at));
  const auto parsed = parse(message);
  REQUIRE(parsed.valid);
  CHECK(parsed.rcode() == kBadVers);
  CHECK((parsed.opt_ttl & 0xFFFFFF) == kEdnsDo);
  ByteBuffer expected = option(15, {0, 14});
  for (const ByteBuffer& next : {option(11, {0, 100}), option(10, cookie)})
    expected.insert(expected.end(), next.begin(), next.end());
  CHECK(ByteBuffer(message.begin() + static_cast<std::ptrdiff_t>(parsed.records[0].rdata_at), message.end()) ==
        expected);
}
