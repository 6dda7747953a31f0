// Any message from an upstream. The question asked is the message's own where it can be read, so that the records
// behind it are reached. Checked beside memory: every waiter is answered once, by a message that parses whole and fits
// it, and a second asking an hour later never sees a TTL above the first.
#include <algorithm>
#include <cstdlib>

#include "dnscache/forwarder.h"
#include "dnscache/wire.h"

#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

DnsConfig configuration() {
  DnsConfig config;
  config.cache_size = mib(1);
  config.zones.emplace_back();
  return config;
}

ByteBuffer question_of(ByteView reply) {
  const ByteBuffer fallback = test::MessageBuilder(0, 0).question("a.", kTypeA).octets;
  Reader reader(reply, std::min(reply.size(), kHeaderSize));
  if (reply.size() < kHeaderSize || !reader.name() || !reader.skip(4)) return fallback;
  ByteBuffer out(reply.begin(), reply.begin() + static_cast<std::ptrdiff_t>(reader.at()));
  std::fill_n(out.begin(), kHeaderSize, std::uint8_t{0});
  out[2] = 1;  // RD
  out[5] = 1;  // one question
  return out;
}

ByteBuffer with_opt(ByteBuffer query) {
  store16(query, 10, 1);
  for (const int octet : {0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0})
    query.push_back(static_cast<std::uint8_t>(octet));
  return query;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ByteBuffer out(65535);
  const ByteView reply(data, size);
  const ByteBuffer plain = question_of(reply);
  Forwarder forwarder(configuration(), 1);
  Client udp, tcp;
  tcp.transport = Transport::Tcp;
  const auto asked = forwarder.on_query(plain, udp, Instant{}, out);
  if (!asked.ask) return 0;  // answered here
  require(forwarder.on_query(with_opt(plain), udp, Instant{}, out).size == 0);
  require(forwarder.on_query(with_opt(plain), tcp, Instant{}, out).size == 0);
  const auto sent = forwarder.on_reply(asked.ask->flight, reply, Instant{});
  require(sent.size() == 3 && forwarder.flights() == 0);
  const std::size_t limits[] = {512, 1232, 65535};
  for (std::size_t i = 0; i < sent.size(); ++i) {
    require(test::parse(sent[i].message).valid && sent[i].message.size() <= limits[i]);
  }
  const auto fresh = test::parse(sent[2].message);
  bool refreshing = false;
  for (const int later : {1, 30, 3599}) {
    Forwarder::Outcome again = forwarder.on_query(with_opt(plain), tcp, Instant{std::chrono::seconds(later)}, out);
    refreshing = refreshing || again.ask.has_value();  // a name in use is asked again before it expires
    if (again.size == 0) {
      require(refreshing);
      break;
    }
    const auto aged = test::parse(ByteView(out).first(again.size));
    require(aged.valid);
    if (aged.rcode() != fresh.rcode() || aged.records.size() != fresh.records.size()) continue;
    for (std::size_t i = 0; i < aged.records.size(); ++i) {
      if (aged.records[i].type != kTypeOpt) require(aged.records[i].ttl <= fresh.records[i].ttl);
    }
  }
  return 0;
}
