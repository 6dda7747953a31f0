#include "dnscache/query.h"

#include <algorithm>

namespace lastlight::dns {

namespace {

constexpr std::size_t kOptSize = 11;

// RFC 6891 s6.1.2: options are {code, length, octets} to the end of the RDATA.
bool options_well_formed(ByteView rdata) {
  while (!rdata.empty()) {
    if (rdata.size() < 4) return false;
    const std::size_t size = std::size_t{4} + load16(rdata, 2);
    if (rdata.size() < size) return false;
    rdata = rdata.subspan(size);
  }
  return true;
}

// Finds the OPT record among the records of a query; false if the message is malformed.
bool read_records(ByteView packet, Reader& reader, Query& out) {
  const auto mode = out.opcode() == kOpUpdate ? Reader::Rdata::Skip : Reader::Rdata::Walk;
  for (std::size_t section = 0; section < 3; ++section) {
    const std::uint16_t count = load16(packet, 6 + section * 2);
    for (std::uint16_t i = 0; i < count; ++i) {
      Record record;
      if (!reader.record(record, mode)) return false;
      if (record.type != kTypeOpt) continue;
      if (section != 2 || record.owner_size != 1 || out.edns) return false;  // RFC 6891 s6.1.1
      if (!options_well_formed(packet.subspan(record.rdata_at, record.rdata_size))) return false;
      out.edns = Edns{.version = static_cast<std::uint8_t>(record.ttl >> 16),
                      .payload = record.rr_class,
                      .dnssec_ok = (record.ttl & kEdnsDo) != 0};
    }
  }
  return true;
}

bool read_question(ByteView packet, Reader& reader, Query& out) {
  if (!reader.name()) return false;
  out.type = reader.u16();
  out.qclass = reader.u16();
  if (reader.failed()) return false;
  out.question = packet.subspan(kHeaderSize, reader.at() - kHeaderSize);
  return true;
}

}  // namespace

Reading read_query(ByteView packet, Query& out) {
  out = Query{};
  if (packet.size() < kHeaderSize) return Reading::TooShort;
  out.id = load16(packet, 0);
  out.flags = load16(packet, 2);
  if (out.flags & kQr) return Reading::Response;
  const std::uint8_t opcode = out.opcode();
  // What the sections of an unknown opcode mean is unknown: only the header is answered (RFC 8906 s3.1.4).
  if (opcode != kOpQuery && opcode != kOpNotify && opcode != kOpUpdate) return Reading::Query;
  if (load16(packet, 4) != 1) return Reading::Malformed;
  Reader reader(packet);
  if (!read_question(packet, reader, out)) return Reading::Malformed;
  return read_records(packet, reader, out) ? Reading::Query : Reading::Malformed;
}

Key::Key(const Query& query) {
  octets_[size_++] = static_cast<std::uint8_t>((query.edns && query.edns->dnssec_ok ? 1 : 0) |
                                               (query.flags & kCd ? 2 : 0) | (query.flags & kRd ? 4 : 0));
  const ByteView name = query.name();
  std::ranges::transform(name, octets_.begin() + 1, lower);
  size_ += name.size();
  store16(octets_, size_, query.type);
  store16(octets_, size_ + 2, query.qclass);
  size_ += 4;
}

ByteBuffer upstream_query(const Query& query, std::uint16_t payload) {
  ByteBuffer out(kHeaderSize + query.question.size() + kOptSize);
  store16(out, 2, static_cast<std::uint16_t>((query.flags & (kRd | kCd)) | kAd));
  store16(out, 4, 1);
  store16(out, 10, 1);
  std::ranges::copy(query.question, out.begin() + kHeaderSize);
  const std::size_t opt = kHeaderSize + query.question.size();
  store16(out, opt + 1, kTypeOpt);
  store16(out, opt + 3, payload);
  store16(out, opt + 7, query.edns && query.edns->dnssec_ok ? kEdnsDo : 0);
  return out;
}

}  // namespace lastlight::dns
