// DNS messages for the tests, built octet by octet, right or wrong on purpose.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"
#include "dnscache/wire.h"

namespace lastlight::dns::test {

inline void put16(ByteBuffer& out, std::uint16_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value & 0xFF));
}
inline void put32(ByteBuffer& out, std::uint32_t value) {
  put16(out, static_cast<std::uint16_t>(value >> 16));
  put16(out, static_cast<std::uint16_t>(value & 0xFFFF));
}

// Keeps the case, unlike Name::parse. "" and "." are the root.
inline ByteBuffer wire_name(std::string_view text) {
  ByteBuffer out;
  while (!text.empty() && text != ".") {
    const std::size_t dot = std::min(text.find('.'), text.size());
    out.push_back(static_cast<std::uint8_t>(dot));
    for (const char c : text.substr(0, dot))
      out.push_back(static_cast<std::uint8_t>(c));
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  out.push_back(0);
  return out;
}

struct MessageBuilder {
  ByteBuffer octets = ByteBuffer(kHeaderSize);

  MessageBuilder(std::uint16_t id, std::uint16_t flags) {
    store16(octets, 0, id);
    store16(octets, 2, flags);
  }
  void count(std::size_t section) {
    store16(octets, 4 + 2 * section, static_cast<std::uint16_t>(load16(octets, 4 + 2 * section) + 1));
  }
  MessageBuilder& raw(const ByteBuffer& more) {
    octets.insert(octets.end(), more.begin(), more.end());
    return *this;
  }
  MessageBuilder& question(std::string_view name, std::uint16_t type, std::uint16_t qclass = kClassIn) {
    count(0);
    raw(wire_name(name));
    put16(octets, type);
    put16(octets, qclass);
    return *this;
  }
  // Section 1 answer, 2 authority, 3 additional. Without a name of its own the owner is a pointer to the question.
  MessageBuilder& record(std::size_t section, std::uint16_t type, std::uint32_t ttl, const ByteBuffer& rdata,
                         std::uint16_t rr_class = kClassIn) {
    return record_of({0xC0, kHeaderSize}, section, type, ttl, rdata, rr_class);
  }
  MessageBuilder& record_of(const ByteBuffer& owner, std::size_t section, std::uint16_t type, std::uint32_t ttl,
                            const ByteBuffer& rdata, std::uint16_t rr_class = kClassIn) {
    count(section);
    raw(owner);
    put16(octets, type);
    put16(octets, rr_class);
    put32(octets, ttl);
    put16(octets, static_cast<std::uint16_t>(rdata.size()));
    return raw(rdata);
  }
  MessageBuilder& a(std::uint32_t ttl, std::uint8_t last = 1, std::size_t section = 1) {
    return record(section, kTypeA, ttl, {192, 0, 2, last});
  }
  MessageBuilder& soa(std::uint32_t ttl, std::uint32_t minimum) {
    ByteBuffer rdata = {0xC0, 0x0C, 0xC0, 0x0C};
    for (int i = 0; i < 4; ++i)
      put32(rdata, 7);
    put32(rdata, minimum);
    return record(2, kTypeSoa, ttl, rdata);
  }
  MessageBuilder& opt(std::uint16_t payload, std::uint16_t edns_flags = 0, std::uint8_t version = 0,
                      const ByteBuffer& options = {}, std::uint8_t extended_rcode = 0) {
    count(3);
    octets.push_back(0);
    put16(octets, kTypeOpt);
    put16(octets, payload);
    octets.push_back(extended_rcode);
    octets.push_back(version);
    put16(octets, edns_flags);
    put16(octets, static_cast<std::uint16_t>(options.size()));
    return raw(options);
  }
};

struct Parsed {
  bool valid = false;
  std::uint16_t id = 0, flags = 0;
  std::uint16_t counts[4] = {};
  std::vector<Record> records;  // of all sections
  ByteBuffer question;
  bool opt = false;
  std::uint32_t opt_ttl = 0;
  int ede = -1;

  std::uint16_t rcode() const { return static_cast<std::uint16_t>((flags & kRcodeMask) | (opt_ttl >> 24 << 4)); }
};

inline Parsed parse(ByteView message) {
  Parsed out;
  if (message.size() < kHeaderSize) return out;
  out.id = load16(message, 0);
  out.flags = load16(message, 2);
  for (std::size_t i = 0; i < 4; ++i)
    out.counts[i] = load16(message, 4 + 2 * i);
  Reader reader(message);
  for (int i = 0; i < out.counts[0]; ++i) {
    if (!reader.name() || !reader.skip(4)) return out;
  }
  out.question.assign(message.begin() + kHeaderSize, message.begin() + static_cast<std::ptrdiff_t>(reader.at()));
  for (int i = 0; i < out.counts[1] + out.counts[2] + out.counts[3]; ++i) {
    Record record;
    if (!reader.record(record)) return out;
    out.records.push_back(record);
    if (record.type != kTypeOpt) continue;
    out.opt = true;
    out.opt_ttl = record.ttl;
    if (record.rdata_size >= 6 && load16(message, record.rdata_at) == 15)
      out.ede = load16(message, record.rdata_at + 4);
  }
  out.valid = reader.at() == message.size();
  return out;
}

}  // namespace lastlight::dns::test
