// The one bounds-checked reader of DNS messages, and the few writers that share its offsets. Owns nothing: it reads a
// view. Never trusts a count or a length of the packet, never allocates, and does a bounded amount of work per message.
// RFC 1035 s3.1, s4.1 (names, sections), 2181 s8, s11 (TTLs, any octet in a label), 6891 (OPT), 9267 (what goes wrong).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "agent/base/bytes.h"

namespace lastlight::dns {

inline constexpr std::size_t kHeaderSize = 12;
inline constexpr std::size_t kMaxName = 255;
inline constexpr std::size_t kMaxLabel = 63;

// Header flags (RFC 1035 s4.1.1, 4035 s3.2, 6895 s2).
inline constexpr std::uint16_t kQr = 0x8000, kAa = 0x0400, kTc = 0x0200, kRd = 0x0100, kRa = 0x0080, kAd = 0x0020,
                               kCd = 0x0010, kOpcodeMask = 0x7800, kRcodeMask = 0x000F;
inline constexpr std::uint16_t kEdnsDo = 0x8000;

enum Opcode : std::uint8_t { kOpQuery = 0, kOpNotify = 4, kOpUpdate = 5 };
enum Rcode : std::uint16_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
  kBadVers = 16,
  kBadCookie = 23
};
enum Type : std::uint16_t {
  kTypeA = 1,
  kTypeNs = 2,
  kTypeCname = 5,
  kTypeSoa = 6,
  kTypeHinfo = 13,
  kTypeAaaa = 28,
  kTypeOpt = 41,
  kTypeRrsig = 46,
  kTypeNsec = 47,
  kTypeNsec3 = 50,
  kTypeIxfr = 251,
  kTypeAxfr = 252,
  kTypeAny = 255
};
enum Class : std::uint16_t { kClassIn = 1, kClassAny = 255 };

constexpr std::uint16_t load16(ByteView bytes, std::size_t at) {
  return static_cast<std::uint16_t>((bytes[at] << 8) | bytes[at + 1]);
}
constexpr std::uint32_t load32(ByteView bytes, std::size_t at) {
  return (std::uint32_t{load16(bytes, at)} << 16) | load16(bytes, at + 2);
}
constexpr void store16(MutableByteView bytes, std::size_t at, std::uint16_t value) {
  bytes[at] = static_cast<std::uint8_t>(value >> 8);
  bytes[at + 1] = static_cast<std::uint8_t>(value & 0xFF);
}
constexpr void store32(MutableByteView bytes, std::size_t at, std::uint32_t value) {
  store16(bytes, at, static_cast<std::uint16_t>(value >> 16));
  store16(bytes, at + 2, static_cast<std::uint16_t>(value & 0xFFFF));
}
constexpr std::uint8_t opcode_of(std::uint16_t flags) {
  return static_cast<std::uint8_t>((flags & kOpcodeMask) >> 11);
}
// ASCII only: other octets have no case in DNS (RFC 4343 s3, 2181 s11).
constexpr std::uint8_t lower(std::uint8_t c) {
  return c >= 'A' && c <= 'Z' ? static_cast<std::uint8_t>(c | 0x20) : c;
}

// A name in uncompressed wire form, root label included. Lower-casing the whole of it is safe: a length octet is at
// most 63, below 'A'.
struct Name {
  std::array<std::uint8_t, kMaxName> octets{};
  std::size_t size = 0;

  ByteView view() const { return {octets.data(), size}; }
  // Presentation form (RFC 1035 s5.1: \. and \DDD), absolute with or without its last dot, lower-cased.
  static std::optional<Name> parse(std::string_view text);
};

// Both in wire form; ASCII case ignored.
bool same_name(ByteView a, ByteView b);

// One resource record, as offsets into its message.
struct Record {
  std::size_t begin = 0;
  std::size_t owner_size = 0;  // of the owner name in the message, pointers not followed
  std::uint16_t type = 0;
  std::uint16_t rr_class = 0;  // for OPT: the UDP payload size (RFC 6891 s6.1.2)
  std::uint32_t ttl = 0;       // as it stands; see effective_ttl
  std::size_t ttl_at = 0;
  std::size_t rdata_at = 0;
  std::size_t rdata_size = 0;
  std::size_t end() const { return rdata_at + rdata_size; }
};

// Where the RDATA of a type has names that may be compressed: behind `before` octets, `names` of them, then `after`
// octets. Of all other types it is opaque (RFC 3597 s4).
struct RdataLayout {
  std::uint8_t before = 0;
  std::uint8_t names = 0;
  std::uint8_t after = 0;
};
RdataLayout rdata_layout(std::uint16_t type);

// RFC 2181 s8: a TTL is 31 bits; one with the top bit set is 0.
constexpr std::uint32_t effective_ttl(std::uint32_t ttl) {
  return ttl & 0x80000000U ? 0 : ttl;
}

// Reads forward through one message. After the first failure everything fails, so a caller may check once at the end.
class Reader {
 public:
  // `at` is past the header for every use but tests.
  explicit Reader(ByteView message, std::size_t at = kHeaderSize)
      : message_(message), at_(at), hops_(message.size()), failed_(at > message.size()) {}

  bool failed() const { return failed_; }
  std::size_t at() const { return at_; }
  std::uint16_t u16();
  std::uint32_t u32();
  bool skip(std::size_t count);
  // Reads a name, following pointers, into `out` when it is not null. Pointers must go strictly backwards, behind the
  // header, and all names of the message together may follow at most as many pointers as it has octets.
  bool name(Name* out = nullptr);
  // Reads one record; the names inside the RDATA of the types that may compress them are walked too (RFC 3597 s4), but
  // in an UPDATE, whose prerequisites and deletions have empty RDATA (RFC 2136 s2.4).
  enum class Rdata : std::uint8_t { Walk, Skip };
  bool record(Record& out, Rdata rdata_mode = Rdata::Walk);

 private:
  bool fail() {
    failed_ = true;
    return false;
  }
  bool name_within(std::size_t end);
  bool rdata(const Record& record);

  ByteView message_;
  std::size_t at_;
  std::size_t hops_;
  bool failed_;
};

}  // namespace lastlight::dns
