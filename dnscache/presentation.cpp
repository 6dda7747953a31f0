#include "dnscache/presentation.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "agent/base/address.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

namespace {

constexpr std::pair<std::uint16_t, std::string_view> kTypes[] = {
    {1, "A"},      {2, "NS"},      {5, "CNAME"},  {6, "SOA"},    {12, "PTR"},   {13, "HINFO"}, {15, "MX"},
    {16, "TXT"},   {28, "AAAA"},   {33, "SRV"},   {35, "NAPTR"}, {39, "DNAME"}, {43, "DS"},    {46, "RRSIG"},
    {47, "NSEC"},  {48, "DNSKEY"}, {50, "NSEC3"}, {52, "TLSA"},  {64, "SVCB"},  {65, "HTTPS"}, {99, "SPF"},
    {250, "TSIG"}, {251, "IXFR"},  {252, "AXFR"}, {255, "ANY"},  {256, "URI"},  {257, "CAA"}};

constexpr std::string_view kRcodes[] = {"NOERROR",  "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
                                        "YXDOMAIN", "YXRRSET", "NXRRSET",  "NOTAUTH",  "NOTZONE"};

void append_octet(std::string& out, std::uint8_t octet, std::string_view special) {
  if (octet > ' ' && octet < 0x7F && special.find(static_cast<char>(octet)) == std::string_view::npos) {
    out += static_cast<char>(octet);
    return;
  }
  out += '\\';
  for (const int unit : {100, 10, 1})
    out += static_cast<char>('0' + octet / unit % 10);
}

void append_word(std::string& out, const std::string& word) {
  if (!out.empty()) out += ' ';
  out += word;
}

// RFC 3597 s5.
std::string unknown_text(ByteView data) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out = "\\# " + std::to_string(data.size());
  if (!data.empty()) out += ' ';
  for (const std::uint8_t octet : data) {
    out += kHex[octet >> 4];
    out += kHex[octet & 15];
  }
  return out;
}

// Strings of a length octet each, as TXT has them.
std::optional<std::string> strings_text(ByteView data) {
  std::string out;
  while (!data.empty()) {
    const std::size_t size = data[0];
    if (data.size() < size + 1) return std::nullopt;
    std::string quoted = "\"";
    for (const std::uint8_t octet : data.subspan(1, size)) {
      if (octet == ' ') {
        quoted += ' ';
      } else {
        append_octet(quoted, octet, "\"\\");
      }
    }
    append_word(out, quoted + '"');
    data = data.subspan(size + 1);
  }
  return out;
}

// Numbers of 16 bits, names, numbers of 32 bits: MX, SRV, SOA and the like.
std::string names_text(ByteView message, const Record& record, const RdataLayout& layout) {
  std::string out;
  Reader reader(message, record.rdata_at);
  for (int i = 0; i < layout.before / 2; ++i)
    append_word(out, std::to_string(reader.u16()));
  for (int i = 0; i < layout.names; ++i) {
    Name name;
    reader.name(&name);
    append_word(out, name_text(name.view()));
  }
  for (int i = 0; i < layout.after / 4; ++i)
    append_word(out, std::to_string(reader.u32()));
  return out;
}

std::string data_text(ByteView message, const Record& record) {
  const ByteView data = message.subspan(record.rdata_at, record.rdata_size);
  if (record.rr_class == kClassIn && record.type == kTypeA) return IpAddress::v4(load32(data, 0)).to_string();
  if (record.rr_class == kClassIn && record.type == kTypeAaaa) {
    std::array<std::uint8_t, 16> octets{};
    std::ranges::copy(data, octets.begin());
    return IpAddress::v6(octets).to_string();
  }
  const RdataLayout layout = rdata_layout(record.type);
  if (layout.names > 0) return names_text(message, record, layout);
  constexpr std::uint16_t kTypeTxt = 16;
  if (const auto strings = record.type == kTypeTxt ? strings_text(data) : std::nullopt) return *strings;
  return unknown_text(data);
}

}  // namespace

std::string name_text(ByteView name) {
  std::string out;
  for (std::size_t at = 0; at < name.size() && name[at] != 0; at += name[at] + std::size_t{1}) {
    if (!out.empty()) out += '.';
    for (const std::uint8_t octet : name.subspan(at + 1, name[at]))
      append_octet(out, octet, ".\\");
  }
  return out.empty() ? "." : out;
}

std::string type_text(std::uint16_t type) {
  const auto* const known = std::ranges::find(kTypes, type, [](const auto& each) { return each.first; });
  return known != std::end(kTypes) ? std::string(known->second) : "TYPE" + std::to_string(type);
}

std::optional<std::uint16_t> parse_type(std::string_view text) {
  const auto same = [](std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) {
      return lower(static_cast<std::uint8_t>(x)) == lower(static_cast<std::uint8_t>(y));
    });
  };
  for (const auto& [type, name] : kTypes) {
    if (same(name, text)) return type;
  }
  if (text.size() <= 4 || !same(text.substr(0, 4), "TYPE")) return std::nullopt;
  std::uint16_t type = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + 4, end, type);
  return parsed.ec == std::errc{} && parsed.ptr == end ? std::optional(type) : std::nullopt;
}

std::string rcode_text(std::uint16_t rcode) {
  return rcode < std::size(kRcodes) ? std::string(kRcodes[rcode]) : "RCODE" + std::to_string(rcode);
}

std::vector<RecordText> record_texts(ByteView message, std::size_t section, std::uint32_t age) {
  std::vector<RecordText> out;
  if (message.size() < kHeaderSize) return out;
  Reader reader(message);
  for (std::uint16_t i = load16(message, 4); i > 0 && !reader.failed(); --i)
    reader.name() && reader.skip(4);
  for (std::size_t each = 1; each <= section; ++each) {
    for (std::uint16_t i = load16(message, 4 + 2 * each); i > 0; --i) {
      Record record;
      if (!reader.record(record)) return out;
      if (each != section) continue;
      Name owner;
      Reader(message, record.begin).name(&owner);
      const std::uint32_t ttl = effective_ttl(record.ttl);
      out.push_back({.name = name_text(owner.view()),
                     .type = type_text(record.type),
                     .data = data_text(message, record),
                     .ttl = ttl - std::min(ttl, age)});
    }
  }
  return out;
}

}  // namespace lastlight::dns
