#include "dnscache/snapshot.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "dnscache/hash.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

namespace {

constexpr std::array<std::uint8_t, 8> kMagic{'L', 'L', 'c', 'a', 'c', 'h', 'e', '\n'};
constexpr std::size_t kPreamble = kMagic.size() + 4;
constexpr std::size_t kBlockHead = 4 + 8;
constexpr std::size_t kSource = 1 + 16 + 2;
constexpr std::uint8_t kMain = 0x80;  // beside the count of uses

void put8(ByteBuffer& out, std::uint8_t value) {
  out.push_back(value);
}
void put16(ByteBuffer& out, std::uint16_t value) {
  out.resize(out.size() + 2);
  store16(out, out.size() - 2, value);
}
void put32(ByteBuffer& out, std::uint32_t value) {
  out.resize(out.size() + 4);
  store32(out, out.size() - 4, value);
}
void put64(ByteBuffer& out, std::uint64_t value) {
  put32(out, static_cast<std::uint32_t>(value >> 32));
  put32(out, static_cast<std::uint32_t>(value));
}
void put_instant(ByteBuffer& out, Instant when) {
  put64(out, static_cast<std::uint64_t>(when.time_since_epoch().count()));
}
void put_octets(ByteBuffer& out, ByteView octets) {
  out.insert(out.end(), octets.begin(), octets.end());
}

// Forward through octets; beyond the end everything is zero and `failed`.
class Octets {
 public:
  explicit Octets(ByteView octets) : rest_(octets) {}
  bool failed() const { return failed_; }
  bool empty() const { return rest_.empty(); }
  std::size_t left() const { return rest_.size(); }

  ByteView take(std::size_t count) {
    if (count > rest_.size()) {
      failed_ = true;
      rest_ = {};
      return {};
    }
    return take_known(count);
  }
  std::uint64_t number(std::size_t size) {
    std::uint64_t value = 0;
    for (const std::uint8_t octet : take(size))
      value = value << 8 | octet;
    return value;
  }
  Instant instant() { return Instant(Duration(static_cast<Duration::rep>(number(8)))); }

 private:
  ByteView take_known(std::size_t count) {
    const ByteView out = rest_.first(count);
    rest_ = rest_.subspan(count);
    return out;
  }
  ByteView rest_;
  bool failed_ = false;
};

// query.h: bits, a lower-cased name, type and class.
bool is_key(ByteView key) {
  if (key.size() < 6 || key[0] > 7) return false;
  const ByteView name = key.subspan(1, key.size() - 5);
  if (name.size() > kMaxName || std::ranges::any_of(name, [](std::uint8_t c) { return c != lower(c); })) return false;
  std::size_t at = 0;
  while (at < name.size() && name[at] != 0) {
    if (name[at] > kMaxLabel) return false;
    at += std::size_t{name[at]} + 1;
  }
  return at + 1 == name.size();
}

// Reads the message whole, as the answer to `question`: where its TTLs stand, and the least of them.
struct Ttls {
  std::vector<std::uint16_t> at;
  std::uint32_t least = 0x7FFFFFFF;
};
bool read_message(ByteView message, ByteView question, Ttls& out) {
  out.at.clear();
  out.least = 0x7FFFFFFF;
  if (message.size() < kHeaderSize + question.size() || message.size() > 0xFFFF) return false;
  const std::uint16_t flags = load16(message, 2);
  const std::uint16_t rcode = flags & kRcodeMask;
  if ((flags & (kQr | kTc | kOpcodeMask)) != kQr || (rcode != kNoError && rcode != kNxDomain)) return false;
  const ByteView theirs = message.subspan(kHeaderSize, question.size());
  const std::size_t name = question.size() - 4;
  if (load16(message, 4) != 1 || !same_name(theirs.first(name), question.first(name)) ||
      !std::ranges::equal(theirs.last(4), question.last(4)))
    return false;
  Reader reader(message, kHeaderSize + question.size());
  for (std::size_t section = 0; section < 3; ++section) {
    for (std::uint16_t i = load16(message, 6 + 2 * section); i > 0; --i) {
      Record record;
      if (!reader.record(record) || record.type == kTypeOpt) return false;
      out.at.push_back(static_cast<std::uint16_t>(record.ttl_at));
      out.least = std::min(out.least, effective_ttl(record.ttl));
    }
  }
  return reader.at() == message.size() && !out.at.empty();
}

// The next payload of an image whose checksums are being followed; none at its end, or at a defect.
class Blocks {
 public:
  explicit Blocks(ByteView behind_preamble) : octets_(behind_preamble) {}

  std::optional<ByteView> next() {
    const std::size_t size = octets_.number(4);
    const std::uint64_t checksum = octets_.number(8);
    const ByteView payload = octets_.take(size);
    if (octets_.failed()) return fail(SnapshotDefect::Truncated);
    if (hash_octets(payload, checksum_) != checksum) return fail(SnapshotDefect::Checksum);
    checksum_ = checksum;
    if (!payload.empty()) return payload;
    return octets_.empty() ? std::nullopt : fail(SnapshotDefect::Malformed);
  }
  const std::optional<SnapshotDefect>& defect() const { return defect_; }

 private:
  std::nullopt_t fail(SnapshotDefect what) {
    defect_ = what;
    return std::nullopt;
  }
  Octets octets_;
  std::uint64_t checksum_ = 0;
  std::optional<SnapshotDefect> defect_;
};

std::optional<Snapshot> read_head(ByteView payload) {
  Octets octets(payload);
  Snapshot out;
  out.written = octets.instant();
  const std::size_t count = octets.number(1);
  if (octets.left() != count * kSource) return std::nullopt;
  for (std::size_t i = 0; i < count; ++i) {
    const bool v6 = octets.number(1) != 0;
    std::array<std::uint8_t, 16> address{};
    std::ranges::copy(octets.take(16), address.begin());
    const std::uint32_t v4 = load32(address, 0);
    out.sources.push_back(
        {v6 ? IpAddress::v6(address) : IpAddress::v4(v4), static_cast<std::uint16_t>(octets.number(2))});
  }
  return octets.failed() ? std::nullopt : std::optional(std::move(out));
}

// What is kept was kept before, for no longer than its TTLs say. Nothing overflows: all are positive.
bool is_plausible(const Cache::Record& record, std::uint32_t least_ttl, Instant now) {
  return record.stored >= Instant{} && record.stored <= now && record.expires > record.stored &&
         record.expires - record.stored <= std::chrono::seconds(least_ttl);
}

bool read_entries(ByteView payload, const Snapshot& about, Instant now,
                  const std::function<void(const Snapshot&, const SnapshotEntry&)>& each) {
  Octets octets(payload);
  Ttls ttls;
  while (!octets.empty()) {
    SnapshotEntry entry;
    entry.record.stored = octets.instant();
    entry.record.expires = octets.instant();
    entry.zone = octets.number(8);
    entry.record.hits = static_cast<std::uint32_t>(octets.number(4));
    entry.record.asked = static_cast<std::uint32_t>(octets.number(4));
    const std::size_t source = octets.number(1);
    const std::size_t uses = octets.number(1);
    const std::size_t key_size = octets.number(2);
    const std::size_t message_size = octets.number(2);
    entry.record.key = octets.take(key_size);
    const ByteView message = octets.take(message_size);
    if (octets.failed() || source > about.sources.size() || !is_key(entry.record.key)) return false;
    if (!read_message(message, entry.record.key.subspan(1), ttls)) return false;
    if (!is_plausible(entry.record, ttls.least, now)) return false;
    entry.record.answer = {message, ttls.at, false, static_cast<std::uint8_t>(source)};
    entry.record.main = (uses & kMain) != 0;
    entry.record.uses = static_cast<std::uint8_t>(std::min<std::size_t>(uses % kMain, Cache::kMaxUses));
    each(about, entry);
  }
  return true;
}

}  // namespace

SnapshotWriter::SnapshotWriter(const Snapshot& about) : sources_(std::min<std::size_t>(about.sources.size(), 255)) {
  put_octets(out_, kMagic);
  put32(out_, Snapshot::kVersion);
  put_instant(payload_, about.written);
  put8(payload_, static_cast<std::uint8_t>(sources_));
  for (const Endpoint& each : std::span(about.sources).first(sources_)) {
    put8(payload_, each.address.is_v6() ? 1 : 0);
    put_octets(payload_, each.address.octets());
    put16(payload_, each.port);
  }
  seal();
}

void SnapshotWriter::add(const SnapshotEntry& entry) {
  const Cache::Record& record = entry.record;
  put_instant(payload_, record.stored);
  put_instant(payload_, record.expires);
  put64(payload_, entry.zone);
  put32(payload_, record.hits);
  put32(payload_, record.asked);
  put8(payload_, record.answer.source <= sources_ ? record.answer.source : 0);
  put8(payload_, static_cast<std::uint8_t>(record.uses | (record.main ? kMain : 0)));
  put16(payload_, static_cast<std::uint16_t>(record.key.size()));
  put16(payload_, static_cast<std::uint16_t>(record.answer.message.size()));
  put_octets(payload_, record.key);
  put_octets(payload_, record.answer.message);
}

ByteBuffer SnapshotWriter::take() {
  if (!payload_.empty()) seal();
  return std::exchange(out_, {});
}

ByteBuffer SnapshotWriter::end() {
  if (!payload_.empty()) seal();
  seal();
  return std::exchange(out_, {});
}

void SnapshotWriter::seal() {
  checksum_ = hash_octets(payload_, checksum_);
  out_.reserve(out_.size() + kBlockHead + payload_.size());
  put32(out_, static_cast<std::uint32_t>(payload_.size()));
  put64(out_, checksum_);
  put_octets(out_, payload_);
  payload_.clear();
}

const char* describe(SnapshotDefect defect) {
  switch (defect) {
    case SnapshotDefect::Version:
      return "it is of another version";
    case SnapshotDefect::Truncated:
      return "it has no end";
    case SnapshotDefect::Checksum:
      return "a checksum is wrong";
    case SnapshotDefect::Age:
      return "it was not written just now";
    case SnapshotDefect::Malformed:
      return "an entry is malformed";
  }
  return "unknown";
}

std::expected<Snapshot, SnapshotDefect> read_snapshot(
    ByteView image, Instant now, const std::function<void(const Snapshot&, const SnapshotEntry&)>& each) {
  if (image.size() < kPreamble) return std::unexpected(SnapshotDefect::Truncated);
  if (!std::ranges::equal(image.first(kMagic.size()), kMagic) || load32(image, kMagic.size()) != Snapshot::kVersion)
    return std::unexpected(SnapshotDefect::Version);
  const ByteView behind = image.subspan(kPreamble);
  // First whether it is whole, then what it says.
  Blocks check(behind);
  while (check.next()) {
  }
  if (check.defect()) return std::unexpected(*check.defect());
  Blocks blocks(behind);
  const auto first = blocks.next();
  const auto about = first ? read_head(*first) : std::nullopt;
  if (!about) return std::unexpected(SnapshotDefect::Malformed);
  if (about->written > now || about->written < now - Snapshot::kOldest) return std::unexpected(SnapshotDefect::Age);
  while (const auto payload = blocks.next()) {
    if (!read_entries(*payload, *about, now, each)) return std::unexpected(SnapshotDefect::Malformed);
  }
  return *about;
}

}  // namespace lastlight::dns
