// The EDNS rewriter: any options of a client, and what we make of them. Checked beside memory: upstream goes our own
// OPT and no octet of the client's; back to the client goes one OPT that parses whole, and no option but an extended
// error, the idle time and a cookie that begins as the client's did.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "dnscache/cookies.h"
#include "dnscache/edns.h"
#include "dnscache/query.h"
#include "dnscache/response.h"

#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

Record opt_of(ByteView message) {
  const auto parsed = test::parse(message);
  require(parsed.valid && parsed.opt);
  require(std::ranges::count(parsed.records, kTypeOpt, &Record::type) == 1);
  return *std::ranges::find(parsed.records, kTypeOpt, &Record::type);
}

void check_upstream(const Query& query) {
  ByteBuffer sent;
  upstream_query(query, 1232, sent);
  const Record opt = opt_of(sent);
  require(opt.rdata_size == 0 && opt.rr_class == 1232);
  require(opt.ttl == (query.edns->dnssec_ok ? kEdnsDo : 0U));
}

void check_answer(const Query& query, ByteView sent) {
  const Record opt = opt_of(sent);
  Edns back;
  require(read_opt(sent, opt, back) && back.version == 0);
  ByteView options = sent.subspan(opt.rdata_at, opt.rdata_size);
  while (!options.empty()) {
    const std::uint16_t code = load16(options, 0);
    require(code == 10 || code == 11 || code == 15);
    options = options.subspan(4 + std::size_t{load16(options, 2)});
  }
  require(back.cookie.size == query.edns->cookie.size);
  if (back.cookie.size != 0) require(back.cookie.size == 24 && back.cookie.octets == query.edns->cookie.octets);
}

}  // namespace

// The input: EDNS flags, size and version (5 octets), then the options.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kHead = 5;
  if (size < kHead || size > 4000) return 0;
  const ByteView input(data, size);
  const ByteBuffer packet = test::MessageBuilder(7, kRd)
                                .question("Fuzz.Example", kTypeA)
                                .opt(load16(input, 0), load16(input, 2), input[4], {input.begin() + kHead, input.end()})
                                .octets;
  Query query;
  const Reading reading = read_query(packet, query);
  require(reading == Reading::Query || reading == Reading::Malformed);
  require(query.edns.has_value());
  require(query.edns->version == input[4] && query.edns->payload == load16(input, 0));
  if (reading == Reading::Malformed) require(query.edns->cookie.size == 0);
  const Cookie came = query.edns->cookie;
  const Cookies cookies(CookieSecret{1, 2, 3});
  const auto seen = cookies.renew(query.edns->cookie, *IpAddress::parse("192.0.2.1"), Instant{std::chrono::hours(1)});
  require((came.size == 0) == (seen == Cookies::Seen::None));
  require(std::equal(came.octets.begin(), came.octets.begin() + Cookie::kClient, query.edns->cookie.octets.begin()));

  check_upstream(query);
  static ByteBuffer out(65535);
  const ResponseForm form{.limit = size_limit(query, true, 1232), .ede = Ede::Other, .keepalive = std::uint16_t{100}};
  const std::size_t error = write_error(query, kBadVers, form, out);
  require(error != 0 && error <= 512);
  check_answer(query, ByteView(out).first(error));
  const Prepared answer = make_failure(query.question, kServFail);
  const Written written = write_answer(answer.answer(), query, form, out);
  require(written.size != 0 && written.size <= form.limit && !written.truncated);
  check_answer(query, ByteView(out).first(written.size));
  return 0;
}
