// Any packet from a client: read, answered or asked about. Checked beside memory: what is sent is a response with the
// query's ID that parses whole, within the client's size; what is asked upstream parses whole, too.
#include <algorithm>
#include <cstdlib>

#include "dnscache/forwarder.h"
#include "dnscache/query.h"
#include "dnscache/wire.h"

#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

DnsConfig configuration(bool relay) {
  DnsConfig config;
  config.cache_size = kib(64);
  config.zones.emplace_back();
  config.zones.back().relay_updates = relay;
  return config;
}

void check_response(ByteView query, ByteView sent) {
  const auto parsed = test::parse(sent);
  require(parsed.valid);
  require(parsed.id == load16(query, 0));
  require((parsed.flags & kQr) != 0);
}

// The key: lower-cased, the same whatever the ID and the case, and the question within it is the packet's.
void check_key(ByteView packet) {
  Query query;
  if (read_query(packet, query) != Reading::Query || query.question.empty()) return;
  const Key key(query);
  require(key.view().size() == 1 + query.question.size() && same_name(key.question(), query.question));
  ByteBuffer other(packet.begin(), packet.end());
  other[0] ^= 0xFF;
  for (std::size_t i = 0; i + 4 < query.question.size(); ++i)
    other[kHeaderSize + i] = lower(other[kHeaderSize + i]);
  Query again;
  require(read_query(other, again) == Reading::Query);
  require(std::ranges::equal(Key(again).view(), key.view()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static ByteBuffer out(65535);
  const ByteView packet(data, size);
  check_key(packet);
  for (const Transport transport : {Transport::Udp, Transport::Tcp}) {
    Forwarder forwarder(configuration(transport == Transport::Tcp), 1);
    Client client;
    client.transport = transport;
    const auto outcome = forwarder.on_query(packet, client, Instant{}, out);
    require(outcome.size <= (transport == Transport::Udp ? 1232U : 65535U));
    require(outcome.size == 0 || !outcome.ask);
    if (outcome.size != 0) check_response(packet, ByteView(out).first(outcome.size));
    if (!outcome.ask) continue;
    const bool question = opcode_of(load16(packet, 2)) == kOpQuery;
    if (question) require(test::parse(outcome.ask->query).valid);
    ByteBuffer reply(outcome.ask->query.begin(), outcome.ask->query.end());
    reply[2] |= 0x80;  // the query itself, as a response
    const auto sent = forwarder.on_reply(outcome.ask->flight, reply, Instant{});
    require(sent.size() == 1);
    if (question) check_response(packet, sent.front().message);
    require(forwarder.flights() == 0);
  }
  return 0;
}
