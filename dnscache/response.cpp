#include "dnscache/response.h"

#include <algorithm>

#include "dnscache/wire.h"

namespace lastlight::dns {

namespace {

std::optional<OptForm> opt_form(const Query& query, const ResponseForm& form, std::uint16_t rcode) {
  if (!query.edns) return std::nullopt;
  return OptForm{.payload = form.payload,
                 .rcode = rcode,
                 .dnssec_ok = query.edns->dnssec_ok,  // as it was asked (RFC 3225 s3)
                 .ede = form.ede,
                 .keepalive = form.keepalive,
                 .cookie = query.edns->cookie.view()};
}

std::size_t append_opt(const std::optional<OptForm>& opt, MutableByteView out, std::size_t at) {
  if (!opt) return at;
  write_opt(*opt, out.subspan(at));
  store16(out, 10, static_cast<std::uint16_t>(load16(out, 10) + 1));
  return at + opt->size();
}

// How much of an answer is sent.
struct Cut {
  std::size_t end = 0;      // octets
  std::size_t records = 0;  // of ttl_at
  std::uint16_t section[3] = {};
  bool truncated = false;
};

std::size_t record_end(const Answer& answer, std::size_t index) {
  const std::size_t ttl = answer.ttl_at[index];
  return ttl + 6 + load16(answer.message, ttl + 4);
}

Cut cut_to(const Answer& answer, std::size_t question_end, std::size_t room) {
  Cut cut;
  const ByteView message = answer.message;
  for (std::size_t i = 0; i < 3; ++i)
    cut.section[i] = load16(message, 6 + 2 * i);
  cut.records = answer.ttl_at.size();
  cut.end = message.size();
  for (std::size_t last = 3; cut.end > room && last > 1; --last) {  // additional, then authority
    cut.records -= cut.section[last - 1];
    cut.section[last - 1] = 0;
    cut.end = cut.records == 0 ? question_end : record_end(answer, cut.records - 1);
  }
  if (cut.end <= room) return cut;
  cut.truncated = true;
  cut.records = 0;
  cut.end = question_end;
  while (cut.records < cut.section[0] && record_end(answer, cut.records) <= room) {
    cut.end = record_end(answer, cut.records++);
  }
  cut.section[0] = static_cast<std::uint16_t>(cut.records);
  return cut;
}

std::uint16_t answer_flags(const Answer& answer, const Query& query) {
  const std::uint16_t theirs = load16(answer.message, 2);
  // AA is never set: what a cache says is not authoritative (RFC 1034 s4.3.1).
  std::uint16_t flags = static_cast<std::uint16_t>(kQr | kRa | (query.flags & (kRd | kCd)) | (theirs & kRcodeMask));
  if ((query.flags & kAd) != 0 || (query.edns && query.edns->dnssec_ok)) flags |= theirs & kAd;
  return flags;
}

}  // namespace

std::size_t size_limit(const Query& query, bool udp, std::uint16_t udp_payload) {
  if (!udp) return 65535;
  if (!query.edns) return 512;
  return std::max<std::size_t>(512, std::min(query.edns->payload, udp_payload));
}

Written write_answer(const Answer& answer, const Query& query, const ResponseForm& form, MutableByteView out) {
  const auto ours = opt_form(query, form, load16(answer.message, 2) & kRcodeMask);
  const std::size_t opt = ours ? ours->size() : 0;
  const std::size_t limit = std::min(form.limit, out.size());
  const std::size_t question_end = kHeaderSize + query.question.size();
  if (limit < question_end + opt || answer.message.size() < question_end) return {};
  const Cut cut = cut_to(answer, question_end, limit - opt);
  const bool proof_lost = query.edns && query.edns->dnssec_ok && cut.section[1] != load16(answer.message, 8);
  const bool truncated = cut.truncated || proof_lost;
  std::copy_n(answer.message.begin(), cut.end, out.begin());
  std::uint16_t flags = answer_flags(answer, query);
  if (truncated) flags |= kTc;
  store16(out, 0, query.id);
  store16(out, 2, flags);
  for (std::size_t i = 0; i < 3; ++i)
    store16(out, 6 + 2 * i, cut.section[i]);
  copy_octets(query.question, out.data() + kHeaderSize);  // the client's case
  for (std::size_t i = 0; (form.age != 0 || form.ttl) && i < cut.records; ++i) {
    const std::size_t at = answer.ttl_at[i];
    const std::uint32_t ttl = load32(out, at);
    store32(out, at, form.ttl.value_or(ttl > form.age ? ttl - form.age : 0));
  }
  return {append_opt(ours, out, cut.end), truncated};
}

std::size_t write_error(const Query& query, std::uint16_t rcode, const ResponseForm& form, MutableByteView out) {
  const std::size_t end = kHeaderSize + query.question.size();
  const auto ours = opt_form(query, form, rcode);
  if (out.size() < end + (ours ? ours->size() : 0)) return 0;
  std::fill_n(out.begin(), kHeaderSize, std::uint8_t{0});
  store16(out, 0, query.id);
  store16(out, 2,
          static_cast<std::uint16_t>(kQr | kRa | (query.flags & (kOpcodeMask | kRd | kCd)) | (rcode & kRcodeMask)));
  store16(out, 4, query.question.empty() ? 0 : 1);
  copy_octets(query.question, out.data() + kHeaderSize);
  return append_opt(ours, out, end);
}

}  // namespace lastlight::dns
