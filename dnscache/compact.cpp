#include "dnscache/compact.h"

#include <algorithm>
#include <array>
#include <bitset>

#include "dnscache/wire.h"

namespace lastlight::dns {

namespace {

constexpr std::size_t kPointerReach = 0x4000;

// The types of RFC 1035: names in any other RDATA are never compressed (RFC 3597 s4).
bool may_compress(std::uint16_t type) {
  constexpr std::uint16_t kTypeMx = 15;
  return type <= kTypeMx;
}

// Writes names, each as the labels that are new and a pointer to the rest. Remembers the question's and the last few.
class NameWriter {
 public:
  NameWriter(ByteBuffer& out, ByteView asked) : out_(out) {
    Name name;
    copy_octets(asked, name.octets.data());
    name.size = asked.size();
    remember(name, kHeaderSize, name.size);
  }

  void write(const Name& name, bool compress) {
    const std::size_t at = out_.size();
    const auto found = compress ? find(name) : std::nullopt;
    const std::size_t written = found ? found->from : name.size;
    out_.insert(out_.end(), name.octets.begin(), name.octets.begin() + static_cast<std::ptrdiff_t>(written));
    if (found) {
      out_.push_back(static_cast<std::uint8_t>(0xC0 | (found->target >> 8)));
      out_.push_back(static_cast<std::uint8_t>(found->target & 0xFF));
    }
    if (written != 0) remember(name, at, written);
  }

 private:
  struct Known {
    Name name;
    std::size_t at = 0;
    std::size_t written = 0;      // octets that stand there; behind them is a pointer
    std::bitset<kMaxName> label;  // where one begins
  };
  struct Found {
    std::size_t from;    // of the name: written up to there
    std::size_t target;  // of the message
  };

  // The longest run of last labels that stands somewhere already. The root alone is no gain.
  std::optional<Found> find(const Name& name) {
    for (std::size_t from = 0; from + 2 < name.size; from += std::size_t{name.octets[from]} + 1) {
      const std::size_t size = name.size - from;
      for (std::size_t i = 0; i < count_; ++i) {
        const Known& known = known_[i];
        if (known.name.size < size) continue;
        const std::size_t start = known.name.size - size;
        if (start >= known.written || known.at + start >= kPointerReach || !known.label[start]) continue;
        if (budget_ < size) return std::nullopt;
        budget_ -= size;
        if (same_name(name.view().subspan(from), known.name.view().subspan(start)))
          return Found{from, known.at + start};
      }
    }
    return std::nullopt;
  }

  // The first, the question's, stays; of the others the oldest goes.
  void remember(const Name& name, std::size_t at, std::size_t written) {
    Known& known = known_[count_ < known_.size() ? count_++ : next_];
    if (count_ == known_.size()) next_ = next_ % (known_.size() - 1) + 1;
    known = {name, at, written, {}};
    for (std::size_t i = 0; i < name.size; i += std::size_t{name.octets[i]} + 1)
      known.label[i] = true;
  }

  ByteBuffer& out_;
  std::array<Known, 8> known_;
  std::size_t count_ = 0;
  std::size_t next_ = 1;
  std::size_t budget_ = std::size_t{256} * 1024;  // octets compared; then names are written out
};

void append_record(ByteBuffer& out, NameWriter& names, ByteView reply, const Record& record) {
  const auto copy = [&](std::size_t from, std::size_t to) {
    out.insert(out.end(), reply.begin() + static_cast<std::ptrdiff_t>(from),
               reply.begin() + static_cast<std::ptrdiff_t>(to));
  };
  Name name;
  Reader(reply, record.begin).name(&name);
  names.write(name, true);
  copy(record.begin + record.owner_size, record.rdata_at);
  const std::size_t rdata = out.size();
  const RdataLayout layout = rdata_layout(record.type);
  copy(record.rdata_at, record.rdata_at + layout.before);
  Reader reader(reply, record.rdata_at + layout.before);
  for (int i = 0; i < layout.names; ++i) {
    reader.name(&name);
    names.write(name, may_compress(record.type));
  }
  copy(reader.at(), record.end());
  store16(out, rdata - 2, static_cast<std::uint16_t>(out.size() - rdata));
}

}  // namespace

bool is_signature(std::uint16_t type) {
  return type == kTypeRrsig || type == kTypeNsec || type == kTypeNsec3;
}

std::optional<ByteBuffer> compact(ByteView reply, ByteView question, bool with_signatures) {
  const std::uint16_t type = load16(question, question.size() - 4);
  ByteBuffer out;
  out.reserve(reply.size());
  out.assign(reply.begin(), reply.begin() + static_cast<std::ptrdiff_t>(kHeaderSize + question.size()));
  NameWriter names(out, question.first(question.size() - 4));
  Reader reader(reply, out.size());
  for (std::size_t section = 0; section < 3; ++section) {
    std::uint16_t kept = 0;
    for (std::uint16_t i = load16(reply, 6 + 2 * section); i > 0; --i) {
      Record record;
      reader.record(record);
      if (!with_signatures && is_signature(record.type) && record.type != type) continue;
      append_record(out, names, reply, record);
      ++kept;
      if (out.size() > 0xFFFF) return std::nullopt;
    }
    store16(out, 6 + 2 * section, kept);
  }
  return out;
}

}  // namespace lastlight::dns
