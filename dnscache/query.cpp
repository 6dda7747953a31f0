#include "dnscache/query.h"

#include <algorithm>
#include <cstring>

namespace lastlight::dns {

namespace {

// What most queries end with: an OPT without options, and no other record. False: they are to be read one by one.
bool read_bare_opt(ByteView packet, std::size_t at, Query& out) {
  const ByteView opt = packet.subspan(at);
  const bool alone = load32(packet, 6) == 0 && load16(packet, 10) == 1 && opt.size() == kBareOpt;
  if (!alone || opt[0] != 0 || load16(opt, 1) != kTypeOpt || load16(opt, 9) != 0) return false;
  const std::uint32_t ttl = load32(opt, 5);
  out.edns = Edns{
      .version = static_cast<std::uint8_t>(ttl >> 16), .payload = load16(opt, 3), .dnssec_ok = (ttl & kEdnsDo) != 0};
  return true;
}

// Finds the OPT record among the records of a query; false if the message is malformed.
bool read_records(ByteView packet, Reader& reader, Query& out) {
  if (read_bare_opt(packet, reader.at(), out)) return true;
  const auto mode = out.opcode() == kOpUpdate ? Reader::Rdata::Skip : Reader::Rdata::Walk;
  for (std::size_t section = 0; section < 3; ++section) {
    const std::uint16_t count = load16(packet, 6 + section * 2);
    for (std::uint16_t i = 0; i < count; ++i) {
      Record record;
      if (!reader.record(record, mode)) return false;
      if (record.type != kTypeOpt) continue;
      if (section != 2 || record.owner_size != 1 || out.edns) return false;  // RFC 6891 s6.1.1
      if (!read_opt(packet, record, out.edns.emplace())) return false;
    }
  }
  return true;
}

// `lower`, eight octets at once: the top bit of an octet of a sum says that it is that far.
std::uint64_t lower_word(std::uint64_t word) {
  constexpr std::uint64_t kEach = 0x0101010101010101;
  const std::uint64_t low = word & (0x7F * kEach);
  const std::uint64_t from_a = low + (0x80 - 'A') * kEach;
  const std::uint64_t past_z = low + (0x7F - 'Z') * kEach;
  return word | ((from_a & ~past_z & ~word & (0x80 * kEach)) >> 2);
}

void lower_into(std::uint8_t* out, ByteView name) {
  const auto convert = [&](std::size_t at) {
    std::uint64_t word = 0;
    std::memcpy(&word, name.data() + at, sizeof word);
    word = lower_word(word);
    std::memcpy(out + at, &word, sizeof word);
  };
  std::size_t at = 0;
  for (; name.size() - at >= 8; at += 8)
    convert(at);
  if (at == name.size()) return;
  if (at > 0) return convert(name.size() - 8);  // some for a second time: that changes nothing
  std::ranges::transform(name, out, lower);
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
  const std::uint16_t questions = load16(packet, 4);
  Reader reader(packet);
  if (questions == 1 && !read_question(packet, reader, out)) return Reading::Malformed;
  if (questions > 1 || !read_records(packet, reader, out)) return Reading::Malformed;
  // No question at all is how a client asks for a cookie and nothing else (RFC 7873 s5.4).
  const bool complete = questions == 1 || (opcode == kOpQuery && out.edns && out.edns->cookie.size != 0);
  return complete ? Reading::Query : Reading::Malformed;
}

void Key::assign(const Query& query) {
  octets_[0] = static_cast<std::uint8_t>((query.edns && query.edns->dnssec_ok ? 1 : 0) | (query.flags & kCd ? 2 : 0) |
                                         (query.flags & kRd ? 4 : 0));
  const ByteView name = query.name();
  lower_into(octets_.data() + 1, name);
  store16(octets_, 1 + name.size(), query.type);
  store16(octets_, 3 + name.size(), query.qclass);
  size_ = 5 + name.size();
}

Query query_of(ByteView key) {
  Query out;
  out.question = key.subspan(1);
  out.flags = static_cast<std::uint16_t>((key[0] & 2 ? kCd : 0) | (key[0] & 4 ? kRd : 0));
  out.type = load16(key, key.size() - 4);
  out.qclass = load16(key, key.size() - 2);
  if (key[0] & 1) out.edns = Edns{.dnssec_ok = true};
  return out;
}

void upstream_query(const Query& query, std::uint16_t payload, ByteBuffer& out) {
  const std::size_t opt = kHeaderSize + query.question.size();
  out.assign(opt + kBareOpt, 0);
  store16(out, 2, static_cast<std::uint16_t>((query.flags & (kRd | kCd)) | kAd));
  store16(out, 4, 1);
  store16(out, 10, 1);
  copy_octets(query.question, out.data() + kHeaderSize);
  write_opt({.payload = payload, .dnssec_ok = query.edns && query.edns->dnssec_ok}, MutableByteView(out).subspan(opt));
}

}  // namespace lastlight::dns
