// A forwarder with a clock to turn and a buffer to answer into, and the messages it is asked with.
#pragma once

#include "dnscache/forwarder.h"

#include "tests/support/catch.h"
#include "tests/unit/dnscache/messages.h"

namespace lastlight::dns::test {

inline DnsConfig config_with(ZoneConfig zone = {}) {
  DnsConfig config;
  config.zones = {zone};
  return config;
}

struct Rig {
  explicit Rig(const DnsConfig& config = config_with()) : forwarder(config, 42) {}
  Forwarder forwarder;
  Instant now{std::chrono::hours(1)};
  ByteBuffer out = ByteBuffer(65535);
  Forwarder::Outcome last;

  // What is sent at once; empty if nothing.
  ByteBuffer ask(const ByteBuffer& query, Transport transport = Transport::Udp, std::uint64_t connection = 0) {
    Client client;
    client.transport = transport;
    client.connection = connection;
    last = forwarder.on_query(query, client, now, out);
    return ByteBuffer(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(last.size));
  }
  // Asks, and answers the flight that must open.
  ByteBuffer resolve(const ByteBuffer& query, const ByteBuffer& reply) {
    REQUIRE(ask(query).empty());
    REQUIRE(last.ask);
    const auto sent = forwarder.on_reply(last.ask->flight, reply, now);
    REQUIRE(sent.size() == 1);
    return sent.front().message;
  }
};

inline ByteBuffer query_for(std::string_view name, std::uint16_t id = 1, std::uint16_t type = kTypeA) {
  return MessageBuilder(id, kRd).question(name, type).octets;
}
inline ByteBuffer edns_query(std::string_view name, std::uint16_t payload = 1232, std::uint16_t flags = 0) {
  return MessageBuilder(1, kRd).question(name, kTypeA).opt(payload, flags).octets;
}
inline MessageBuilder reply_for(std::string_view name, std::uint16_t rcode = 0, std::uint16_t type = kTypeA) {
  return MessageBuilder(0, static_cast<std::uint16_t>(kQr | kRa | kRd | rcode)).question(name, type);
}

}  // namespace lastlight::dns::test
