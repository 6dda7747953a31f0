// An upstream's answer, checked whole and made ready to be sent many times: its OPT is gone (hop by hop, RFC 6891
// s6.2.6), its TTLs are clamped, where each TTL stands is known, and its names are compressed. Decides too whether and
// how long it may be kept. RFC 1035 s7.3, s7.4, 2181 s5.2 (one TTL for an RRset), s8, 4035 s3.2.1 (signatures only for
// those who asked), 2308 s3, s5, 5452 s9.1 (the question must be ours), 9520 s3.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/base/time.h"

namespace lastlight::dns {

// A message ready to be sent: header, question and records without OPT, and the offset of each record's TTL in it.
struct Answer {
  ByteView message;
  std::span<const std::uint16_t> ttl_at;
  bool failure = false;     // a header and a question with an rcode other than NOERROR and NXDOMAIN
  std::uint8_t source = 0;  // the keeper's number of who said so; 0: nobody in particular
};

struct TtlLimits {
  Duration min_ttl{};  // answers only; a TTL of 0 is never stretched
  Duration max_ttl{};
  Duration max_negative_ttl{};  // NXDOMAIN and NODATA
};

enum class Defect : std::uint8_t { Malformed, OtherQuestion, Truncated };

struct Prepared {
  ByteBuffer message;
  std::vector<std::uint16_t> ttl_at;
  std::uint16_t rcode = 0;
  Duration ttl{};  // how long it may be kept; 0: not at all. Of a failure it is not set: that is the keeper's choice.
  bool failure = false;

  Answer answer() const { return {message, ttl_at, failure}; }
};

// `question`: name, type and class that were asked, of a query with opcode 0. Without `dnssec_ok` (the query's DO bit)
// RRSIG, NSEC and NSEC3 records that were not asked for by type are left out. `kept`: one whose memory is used again.
std::expected<Prepared, Defect> prepare_answer(ByteView reply, ByteView question, const TtlLimits& limits,
                                               bool dnssec_ok = true, Prepared kept = {});

// The failure that stands for `question` when there is no message to relay.
Prepared make_failure(ByteView question, std::uint16_t rcode);

}  // namespace lastlight::dns
