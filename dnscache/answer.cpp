#include "dnscache/answer.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory_resource>
#include <optional>
#include <utility>

#include "dnscache/compact.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

namespace {

std::uint32_t whole_seconds(Duration d) {
  const auto count = std::chrono::duration_cast<std::chrono::seconds>(d).count();
  return static_cast<std::uint32_t>(std::clamp<std::int64_t>(count, 0, 0x7FFFFFFF));
}

struct Counts {
  std::uint16_t section[3] = {};
};

// One pass over the records of a reply.
class Preparation {
 public:
  Preparation(ByteView reply, ByteView question, const TtlLimits& limits)
      : reply_(reply),
        limits_(limits),
        reader_(reply),
        type_(load16(question, question.size() - 4)),
        class_(load16(question, question.size() - 2)) {}

  bool read() {
    reader_.name();
    reader_.skip(4);
    end_ = reader_.at();
    for (std::size_t section = 0; section < 3; ++section) {
      if (!read_section(section)) return false;
    }
    return !reader_.failed() && end_ <= 0xFFFF;
  }

  // Has names that were written out although they are long enough to point at.
  bool is_loose() const { return is_loose_; }
  // Has records that only a client that set DO may see (RFC 4035 s3.2.1).
  bool has_signatures() const { return has_signatures_; }

  Prepared finish(Prepared out) {
    out.ttl_at.clear();
    const std::uint16_t flags = load16(reply_, 2);
    out.rcode = static_cast<std::uint16_t>((extended_rcode_ << 4) | (flags & kRcodeMask));
    out.failure = out.rcode != kNoError && out.rcode != kNxDomain;
    out.message.assign(reply_.begin(), reply_.begin() + static_cast<std::ptrdiff_t>(end_));
    for (std::size_t i = 0; i < 3; ++i)
      store16(out.message, 6 + 2 * i, kept_.section[i]);
    const bool negative = out.rcode == kNxDomain || !has_final_answer_;
    std::uint32_t least = 0x7FFFFFFF;
    for (const Ttl& kept : ttls_) {
      const std::uint32_t ttl = clamp(least_of_[kept.run], negative);
      least = std::min(least, ttl);
      store32(out.message, kept.at, ttl);
      out.ttl_at.push_back(static_cast<std::uint16_t>(kept.at));
    }
    // RFC 2308 s5: a negative answer without SOA is not cached. A chain of CNAMEs that ends nowhere is one, too.
    const bool keepable = !out.failure && !ttls_.empty() && (!negative || soa_minimum_);
    out.ttl = keepable ? std::chrono::seconds(least) : Duration{0};
    return out;
  }

 private:
  bool read_section(std::size_t section) {
    const std::uint16_t count = load16(reply_, 6 + section * 2);
    for (std::uint16_t i = 0; i < count; ++i) {
      Record record;
      if (!reader_.record(record)) return false;
      if (record.type == kTypeOpt) {
        if (section != 2 || record.owner_size != 1 || seen_opt_) return false;
        seen_opt_ = true;
        extended_rcode_ = static_cast<std::uint16_t>(record.ttl >> 24);
        continue;
      }
      // Records behind an OPT may point into each other: moving them would break names. They are only additional data,
      // so they go (RFC 2181 s9).
      if (seen_opt_) continue;
      if (section < 2 && class_ != kClassAny && record.rr_class != class_) return false;
      keep(section, record);
    }
    return true;
  }

  void keep(std::size_t section, const Record& record) {
    ++kept_.section[section];
    end_ = record.end();
    has_signatures_ = has_signatures_ || (is_signature(record.type) && record.type != type_);
    keep_ttl(section, record);
    if (section == 0 && (record.type == type_ || type_ == kTypeAny)) has_final_answer_ = true;
    if (section == 1 && record.type == kTypeSoa) {
      soa_minimum_ = effective_ttl(load32(reply_, record.end() - 4));
    }
  }

  // RFC 2181 s5.2: the TTLs of an RRset are to be equal; where they are not, the least is that of all. Its records
  // stand together in every message we know of; where they do not, each run has a TTL of its own.
  void keep_ttl(std::size_t section, const Record& record) {
    is_loose_ = is_loose_ || is_written_out(record);
    const bool goes_on =
        !least_of_.empty() && run_section_ == section && run_.type == record.type && is_runs_owner(record);
    if (!goes_on) {
      least_of_.push_back(0x7FFFFFFF);
      run_section_ = section;
      run_ = record;
      run_owner_.reset();
    }
    least_of_.back() = std::min(least_of_.back(), effective_ttl(record.ttl));
    ttls_.push_back({record.ttl_at, least_of_.size() - 1});
  }

  // Most owners are nothing but a pointer (RFC 1035 s4.1.4), and no name has two octets.
  static bool is_pointer(const Record& record) { return record.owner_size == 2; }

  Name owner(const Record& record) const {
    Name out;
    Reader(reply_, record.begin).name(&out);
    return out;
  }

  bool is_written_out(const Record& record) const {
    return record.owner_size > 2 && owner(record).size == record.owner_size;
  }

  // Each owner is read once, and that of a run once more: what lies behind a long chain of pointers is not to be read
  // for every record.
  bool is_runs_owner(const Record& record) {
    const bool alike =
        is_pointer(run_) && is_pointer(record) && load16(reply_, run_.begin) == load16(reply_, record.begin);
    if (alike) return true;
    if (!run_owner_) run_owner_ = owner(run_);
    return same_name(run_owner_->view(), owner(record).view());
  }

  std::uint32_t clamp(std::uint32_t wire_ttl, bool negative) const {
    std::uint32_t ttl = std::min(wire_ttl, whole_seconds(limits_.max_ttl));
    if (negative) {
      ttl = std::min(ttl, whole_seconds(limits_.max_negative_ttl));
      return soa_minimum_ ? std::min(ttl, *soa_minimum_) : ttl;
    }
    return ttl == 0 ? 0 : std::max(ttl, std::min(whole_seconds(limits_.min_ttl), whole_seconds(limits_.max_ttl)));
  }

  ByteView reply_;
  const TtlLimits& limits_;
  Reader reader_;
  std::uint16_t type_;
  std::uint16_t class_;
  std::size_t end_ = 0;
  Counts kept_;
  // Both grow by records read, never by a count of the header.
  struct Ttl {
    std::size_t at;
    std::size_t run;
  };
  std::array<std::byte, 512> room_;  // what most answers need: the heap is for the others
  std::pmr::monotonic_buffer_resource memory_{room_.data(), room_.size()};
  std::pmr::vector<Ttl> ttls_{&memory_};
  std::pmr::vector<std::uint32_t> least_of_{&memory_};  // each run; the last is the one being read:
  std::size_t run_section_ = 0;
  Record run_;                     // its first
  std::optional<Name> run_owner_;  // once it was needed
  bool is_loose_ = false;
  bool has_signatures_ = false;
  bool seen_opt_ = false;
  bool has_final_answer_ = false;
  std::uint16_t extended_rcode_ = 0;
  std::optional<std::uint32_t> soa_minimum_;
};

bool answers(ByteView reply, ByteView question) {
  Reader reader(reply);
  const std::uint16_t flags = load16(reply, 2);
  if ((flags & kQr) == 0 || opcode_of(flags) != kOpQuery || load16(reply, 4) != 1) return false;
  if (reply.size() - kHeaderSize < question.size()) return false;
  // The question cannot be compressed: a pointer has nothing behind the header to point to.
  const ByteView theirs = reply.subspan(kHeaderSize, question.size());
  const std::size_t name = question.size() - 4;
  return same_name(theirs.first(name), question.first(name)) && std::ranges::equal(theirs.last(4), question.last(4));
}

}  // namespace

std::expected<Prepared, Defect> prepare_answer(ByteView reply, ByteView question, const TtlLimits& limits,
                                               bool dnssec_ok, Prepared kept) {
  if (reply.size() < kHeaderSize || reply.size() > 0xFFFF) return std::unexpected(Defect::Malformed);
  const std::uint16_t flags = load16(reply, 2);
  const std::uint16_t rcode = flags & kRcodeMask;
  // Some servers answer FORMERR or NOTIMP without the question (RFC 6891 s7, 8906 s7): a header alone says enough.
  const bool bare = reply.size() == kHeaderSize && load16(reply, 4) == 0 && (flags & kQr) != 0 && rcode != kNoError &&
                    rcode != kNxDomain && opcode_of(flags) == kOpQuery;
  if (bare) return make_failure(question, rcode);
  if (!answers(reply, question)) return std::unexpected(Defect::OtherQuestion);
  if (flags & kTc) return std::unexpected(Defect::Truncated);
  Preparation preparation(reply, question, limits);
  if (!preparation.read()) return std::unexpected(Defect::Malformed);
  const bool strip = !dnssec_ok && preparation.has_signatures();
  if (!strip && !preparation.is_loose()) return preparation.finish(std::move(kept));
  const auto anew = compact(reply, question, !strip);
  if (!strip && (!anew || anew->size() >= reply.size())) return preparation.finish(std::move(kept));
  if (!anew) return std::unexpected(Defect::Malformed);
  Preparation second(*anew, question, limits);
  if (!second.read()) return std::unexpected(Defect::Malformed);
  return second.finish(std::move(kept));
}

Prepared make_failure(ByteView question, std::uint16_t rcode) {
  Prepared out;
  out.message.resize(kHeaderSize + question.size());
  store16(out.message, 2, static_cast<std::uint16_t>(kQr | (rcode & kRcodeMask)));
  store16(out.message, 4, 1);
  copy_octets(question, out.message.data() + kHeaderSize);
  out.rcode = rcode;
  out.failure = true;
  return out;
}

}  // namespace lastlight::dns
