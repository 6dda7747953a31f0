#include "dnscache/wire.h"

#include <algorithm>

namespace lastlight::dns {

namespace {

// One character of a presentation name, escapes resolved; advances `text`.
struct Character {
  std::uint8_t octet;
  bool separator;
};

std::optional<Character> take(std::string_view& text) {
  const char c = text.front();
  text.remove_prefix(1);
  if (c == '.') return Character{0, true};
  if (c != '\\') return Character{static_cast<std::uint8_t>(c), false};
  if (text.empty()) return std::nullopt;
  const auto digit = [](char d) { return d >= '0' && d <= '9'; };
  if (!digit(text[0])) {
    const auto octet = static_cast<std::uint8_t>(text[0]);
    text.remove_prefix(1);
    return Character{octet, false};
  }
  if (text.size() < 3 || !digit(text[1]) || !digit(text[2])) return std::nullopt;
  const int value = (text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0');
  if (value > 255) return std::nullopt;
  text.remove_prefix(3);
  return Character{static_cast<std::uint8_t>(value), false};
}

}  // namespace

std::optional<Name> Name::parse(std::string_view text) {
  Name name;
  if (text.empty()) return std::nullopt;
  if (text == ".") {
    name.size = 1;
    return name;
  }
  std::size_t label_at = 0;
  name.size = 1;
  const auto close_label = [&] {
    const std::size_t length = name.size - label_at - 1;
    if (length == 0 || length > kMaxLabel || name.size >= kMaxName) return false;
    name.octets[label_at] = static_cast<std::uint8_t>(length);
    label_at = name.size++;
    return true;
  };
  bool open = true;
  while (!text.empty()) {
    const auto next = take(text);
    if (!next) return std::nullopt;
    if (next->separator) {
      if (!close_label()) return std::nullopt;
      open = false;
      continue;
    }
    if (name.size >= kMaxName) return std::nullopt;
    name.octets[name.size++] = lower(next->octet);
    open = true;
  }
  if (open && !close_label()) return std::nullopt;
  name.octets[label_at] = 0;
  return name;
}

// Most names come back as they were sent.
bool same_name(ByteView a, ByteView b) {
  return std::ranges::equal(a, b) ||
         std::ranges::equal(a, b, [](std::uint8_t x, std::uint8_t y) { return lower(x) == lower(y); });
}

RdataLayout rdata_layout(std::uint16_t type) {
  switch (type) {
    case 2:
    case 3:
    case 4:
    case 5:
    case 7:
    case 8:
    case 9:
    case 12:
    case 39:  // NS MD MF CNAME MB MG MR PTR DNAME
      return {.before = 0, .names = 1, .after = 0};
    case 14:
    case 17:  // MINFO RP
      return {.before = 0, .names = 2, .after = 0};
    case kTypeSoa:
      return {.before = 0, .names = 2, .after = 20};
    case 15:
    case 18:
    case 21:
    case 36:  // MX AFSDB RT KX
      return {.before = 2, .names = 1, .after = 0};
    case 33:  // SRV
      return {.before = 6, .names = 1, .after = 0};
    default:
      return {};
  }
}

std::uint16_t Reader::u16() {
  if (failed_ || message_.size() - at_ < 2) {
    fail();
    return 0;
  }
  at_ += 2;
  return load16(message_, at_ - 2);
}

std::uint32_t Reader::u32() {
  const std::uint32_t high = u16();
  return (high << 16) | u16();
}

bool Reader::skip(std::size_t count) {
  if (failed_ || message_.size() - at_ < count) return fail();
  at_ += count;
  return true;
}

bool Reader::name(Name* out) {
  if (failed_) return false;
  std::size_t at = at_;
  std::size_t segment = at_;  // where the run of labels being read began: a pointer must go before it
  std::size_t size = 0;
  bool jumped = false;
  for (;;) {
    if (at >= message_.size()) return fail();
    const std::uint8_t length = message_[at];
    if ((length & 0xC0) == 0xC0) {
      if (message_.size() - at < 2 || hops_ == 0) return fail();
      const std::size_t target = load16(message_, at) & 0x3FFFU;
      if (target >= segment || target < kHeaderSize) return fail();
      --hops_;
      if (!jumped) at_ = at + 2;
      jumped = true;
      at = segment = target;
      continue;
    }
    if (length > kMaxLabel) return fail();  // 01 and 10 are not label types any more (RFC 6891 s5)
    const std::size_t octets = std::size_t{length} + 1;
    if (size + octets > kMaxName || message_.size() - at < octets) return fail();
    if (out)
      std::copy_n(message_.begin() + static_cast<std::ptrdiff_t>(at), octets,
                  out->octets.begin() + static_cast<std::ptrdiff_t>(size));
    size += octets;
    at += octets;
    if (length == 0) break;
  }
  if (!jumped) at_ = at;
  if (out) out->size = size;
  return true;
}

bool Reader::record(Record& out, Rdata rdata_mode) {
  out.begin = at_;
  if (!name()) return false;
  out.owner_size = at_ - out.begin;
  out.type = u16();
  out.rr_class = u16();
  out.ttl_at = at_;
  out.ttl = u32();
  out.rdata_size = u16();
  out.rdata_at = at_;
  if (failed_ || message_.size() - at_ < out.rdata_size) return fail();
  if (rdata_mode == Rdata::Walk && !rdata(out)) return fail();
  at_ = out.end();
  return true;
}

bool Reader::name_within(std::size_t end) {
  return name() && at_ <= end;
}

bool Reader::rdata(const Record& record) {
  if (record.type == kTypeA && record.rr_class == kClassIn) return record.rdata_size == 4;
  if (record.type == kTypeAaaa && record.rr_class == kClassIn) return record.rdata_size == 16;
  const RdataLayout layout = rdata_layout(record.type);
  if (layout.names == 0) return true;
  const std::size_t end = record.end();
  if (record.rdata_size < layout.before || !skip(layout.before)) return false;
  for (int i = 0; i < layout.names; ++i) {
    if (!name_within(end)) return false;
  }
  return end - at_ == layout.after;
}

}  // namespace lastlight::dns
