// From a client's query to its answer: refuses what is not forwarded, answers from the cache, and otherwise keeps
// exactly one upstream question (a flight) per cache key with the clients that wait for it. Every client that was told
// "nothing now" gets exactly one Delivery later. Owns the cache, the zones and the flights; never a socket, a timer or
// an upstream: the shell carries an Ask and ends its flight by one of on_reply, on_failure and abandon_all. RFC 1035
// s7, 2308, 5452 s6 (one outstanding query per question), 6761 (localhost), 6891, 8482 (ANY), 8906, 8914 (EDE), 9520
// (failures are cached), 9619 (one question).
//
// An answer that has expired is better than none (RFC 8767): it goes out with a TTL of config.stale_ttl and an extended
// error when asking again failed, took longer than config.stale_after, or is known to be in vain. The question goes on
// without the client, and what comes late is kept.
//
// Bounds: config.max_flights questions in flight and config.max_waiters clients per flight (beyond: SERVFAIL, EDE 0
// Other, counted), config.max_per_client questions of one address (beyond: REFUSED, EDE 0 Other, counted), each of them
// only if nothing expired can be served; config.cache_size bytes of answers (beyond: evicted).
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/base/histogram.h"
#include "agent/base/time.h"
#include "agent/config.h"
#include "dnscache/cookies.h"
#include "dnscache/counters.h"
#include "dnscache/snapshot.h"

namespace lastlight::dns {

enum class Transport : std::uint8_t { Udp, Tcp };

// Where an answer goes. The forwarder never looks into it but for the transport (how long an answer may be).
struct Client {
  Endpoint peer;
  std::uint32_t listener = 0;
  std::uint64_t connection = 0;
  Transport transport = Transport::Udp;
};

using FlightId = std::uint64_t;

// A question for the upstreams of a zone. The message's ID is 0: the transport draws it (RFC 5452 s4).
struct Ask {
  FlightId flight = 0;
  std::uint32_t zone = 0;  // index into DnsConfig::zones
  ByteView query;          // valid until the next call
};

enum class Failure : std::uint8_t { NoUpstream, Timeout, Network, Truncated, Invalid };

struct ClientCount {
  IpAddress client;
  std::uint64_t queries = 0;
};

struct Delivery {
  Client to;
  ByteBuffer message;
};

class Forwarder {
 public:
  // Zones are those of config.zones, by index. `hash_seed` is random, so that nobody can aim at one bucket; so is
  // `cookie_secret` wherever clients are served.
  Forwarder(const DnsConfig& config, std::uint64_t hash_seed, const CookieSecret& cookie_secret = {});
  ~Forwarder();
  Forwarder(Forwarder&&) noexcept;
  Forwarder& operator=(Forwarder&&) noexcept;

  struct Outcome {
    std::size_t size = 0;    // bytes written to out; 0: nothing now (asked, waiting, or dropped)
    std::optional<Ask> ask;  // to be sent, also beside an answer; its flight is open until it is ended
    bool dropped = false;    // no answer will ever come
  };
  // `out` holds at least 65535 bytes for TCP, 4096 for UDP. A hit allocates nothing.
  Outcome on_query(ByteView query, const Client& client, Instant now, MutableByteView out);
  // What on_query is called with next, in this order: read and looked for all at once, so that one entry's way through
  // memory is waited for while the others' are. The octets must stay until they are asked or nothing is expected any
  // more. At most kExpected; without it, or in another order, all is as ever but slower.
  static constexpr std::size_t kExpected = 16;
  void expect(std::span<const ByteView> queries);
  // The upstream's answer, as it came; its ID was checked by the transport. An answer that is malformed, truncated or
  // to another question ends the flight as on_failure(Invalid or Truncated) does. `from` is told by look_up. What is to
  // be delivered, here and below, is valid until the next of these four calls.
  std::span<const Delivery> on_reply(FlightId flight, ByteView reply, Instant now,
                                     const std::optional<Endpoint>& from = std::nullopt);
  std::span<const Delivery> on_failure(FlightId flight, Failure why, Instant now);
  // To be called at next_deadline() or later: whoever has waited long enough.
  std::span<const Delivery> on_time(Instant now);
  Instant next_deadline() const;
  // Questions nobody asked for: to be called until there is none, at next_deadline() and after on_reply.
  std::optional<Ask> next_ask(Instant now);

  // This node is about to go, and others, CoreDNS's perhaps, with it: what is in use is asked again now, and what
  // expires stays good until the end.
  void prepare_to_leave(Instant now);
  // The configuration changed. What is kept stays, but for names whose zone is asked elsewhere now.
  void reconfigure(const DnsConfig& config, Instant now);

  // The image of what is kept (snapshot.h), for a successor, in slices that take well under a millisecond each, between
  // which queries are answered as ever. What is in use comes first; an image is at most a quarter of the cache's
  // budget.
  void begin_image(Instant now);
  bool image_slice(ByteBuffer& out, Instant now);  // after begin_image; false: there is no more
  ByteBuffer end_image();                          // its last octets; may come early, too
  // A predecessor's, before anything is asked: how many answers were kept. Those whose zone is asked elsewhere now are
  // not. At a defect nothing is kept.
  std::expected<std::size_t, SnapshotDefect> restore(ByteView image, Instant now);

  // At shutdown: SERVFAIL to every waiter; no flight is left.
  std::span<const Delivery> abandon_all(Instant now);

  // For people who ask what is kept, and why: of one question, each way it was asked (DO, CD, RD).
  struct Kept {
    std::string zone;
    std::string name;
    std::uint16_t type = 0;
    std::uint16_t rcode = 0;
    std::uint16_t answers = 0;
    std::uint32_t age = 0;  // seconds
    Duration left{};        // of the TTL; negative: stale
    std::uint32_t hits = 0;
    std::optional<Endpoint> from = std::nullopt;  // none: we said so ourselves
    ByteBuffer message = {};                      // of look_up alone
    bool failure = false, dnssec_ok = false, checking_disabled = false, recursion_desired = false;
  };
  std::vector<Kept> look_up(const std::string& name, std::uint16_t type, Instant now) const;
  // The questions asked most since the start, cached or not, and who asks most; never counted too high (sketch.h).
  enum class Top : std::uint8_t { Names, Missing };  // missing: their answers were NXDOMAIN
  struct NameCount {
    std::string zone;
    std::string name;
    std::uint16_t type = 0;
    std::uint64_t queries = 0;
  };
  std::vector<NameCount> top(Top what, std::size_t most) const;
  std::vector<ClientCount> top_clients(std::size_t most) const;
  // Forgets a name, or everything below one, too; how many answers.
  enum class Flush : std::uint8_t { Name, Zone };
  std::size_t flush(const std::string& name, Flush what);

  std::size_t flights() const;
  const Histogram& waits() const;  // of clients whose answer was not in memory, in nanoseconds
  std::uint64_t waiting() const;   // clients
  CutCounters cut_counters() const;
  const ForwarderCounters& counters() const;
  const CacheCounters& cache_counters() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace lastlight::dns
