// What a Forwarder is made of; seen by its own files alone. forwarder.cpp has the way in (a query, what is known of it,
// a question opened), forwarder_replies.cpp the way out (a reply or a failure, who gets what), forwarder_time.cpp what
// happens without either: waits that are over, questions asked ahead; forwarder_keeping.cpp the end of the node,
// another configuration, and people's questions; forwarder_image.cpp what passes to a successor.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dnscache/answer.h"
#include "dnscache/cache.h"
#include "dnscache/cookies.h"
#include "dnscache/cut.h"
#include "dnscache/deliveries.h"
#include "dnscache/flights.h"
#include "dnscache/forwarder.h"
#include "dnscache/outage.h"
#include "dnscache/query.h"
#include "dnscache/response.h"
#include "dnscache/sketch.h"
#include "dnscache/snapshot.h"
#include "dnscache/zones.h"

namespace lastlight::dns {

inline bool is_udp(const Client& client) {
  return client.transport == Transport::Udp;
}

class Forwarder::State {
 public:
  State(const DnsConfig& config, std::uint64_t seed, const CookieSecret& cookie_secret);

  Outcome on_query(ByteView packet, const Client& client, Instant now, MutableByteView out);
  void expect(std::span<const ByteView> queries);
  std::span<const Delivery> on_reply(FlightId id, ByteView reply, Instant now, const std::optional<Endpoint>& from);
  std::span<const Delivery> on_failure(FlightId id, Failure why, Instant now);
  std::span<const Delivery> on_time(Instant now);
  std::span<const Delivery> abandon_all(Instant now);
  std::optional<Ask> next_ask(Instant now);
  void prepare_to_leave(Instant now);
  void reconfigure(const DnsConfig& config, Instant now);
  void begin_image(Instant now);
  bool image_slice(ByteBuffer& out, Instant now);
  ByteBuffer end_image();
  std::expected<std::size_t, SnapshotDefect> restore(ByteView image, Instant now);
  std::vector<Kept> look_up(const std::string& name, std::uint16_t type, Instant now) const;
  std::vector<NameCount> top(Top what, std::size_t most) const;
  std::size_t flush(const std::string& name, Flush what);
  std::vector<ClientCount> top_clients(std::size_t most);
  CutCounters cut_counters() const;
  Instant next_deadline() const;

  std::size_t flights() const { return flights_.size(); }
  const Histogram& waits() const { return flights_.waits(); }
  std::uint64_t waiting() const { return flights_.waiting(); }
  const ForwarderCounters& counters() const { return counters_; }
  const CacheCounters& cache_counters() const { return cache_.counters(); }

 private:
  // In
  struct Read {
    ByteView packet;
    Reading reading = Reading::TooShort;
    Query query;
    Key key;                 // of a question that is well formed
    std::uint64_t hash = 0;  // of it
  };
  void read(ByteView packet, Read& into) const;
  Read& reading_of(ByteView packet);
  Outcome handle(ByteView packet, const Client& client, Instant now, MutableByteView out);
  void count_rcode(ByteView message);
  void count_client(const IpAddress& client);
  void note_run();
  void count_name(ByteView key, std::uint64_t hash, std::uint16_t rcode, std::uint64_t times);
  Outcome question(const Read& read, const Client& client, Instant now, MutableByteView out);
  Outcome relay(ByteView packet, const Query& query, const Client& client, Instant now, MutableByteView out);
  Outcome expired(const Cache::Hit& hit, const Key& key, std::uint32_t zone, const Query& query, const Client& client,
                  Instant now, MutableByteView out);
  std::optional<Outcome> cut_off(const Read& read, std::uint32_t zone, const Client& client, Instant now,
                                 MutableByteView out);
  Outcome miss(const Read& read, std::uint32_t zone, const Client& client, Instant now, MutableByteView out);
  std::optional<Ask> ahead(ByteView key, std::uint64_t hash, std::uint32_t zone, const Query& query, Instant now);
  Ask ask(FlightId id, std::uint32_t zone, const Query& query);
  Outcome full(Flights::Full bound, const Query& query, MutableByteView out);
  Outcome error(const Query& query, std::uint16_t rcode, std::optional<Ede> ede, std::uint64_t& counter,
                MutableByteView out);
  Outcome send(const Answer& answer, const Query& query, const Client& client, std::uint32_t age, MutableByteView out);
  Outcome send_stale(const Answer& answer, std::uint32_t zone, const Query& query, const Client& client,
                     MutableByteView out);
  std::uint64_t& count(Flights::Full bound);

  // Out
  void fail(const Flight& flight, std::uint16_t rcode, std::optional<Ede> ede, Instant now);
  void keep_failure(const Flight& flight, std::uint16_t rcode, Instant now);
  std::optional<Cache::Hit> kept_for(const Flight& flight, Instant now) const;
  void end(const Flight& flight, ByteView reply, Instant now, const std::optional<Endpoint>& from);
  void settle(const Flight& flight, const Prepared& prepared, std::uint8_t source, Instant now);
  std::uint8_t source_of(const std::optional<Endpoint>& from);
  void learn(const Flight& flight, const Prepared& prepared, Instant now);
  void count_waiters(const Flight& flight, std::uint16_t rcode);
  template <typename Write>
  void deliver(const Waiters& waiters, Write&& write);
  void fan_out(const Flight& flight, const Answer& answer);
  void fan_out_kept(const Flight& flight, const Waiters& waiters, const Cache::Hit& hit);
  void fan_out_error(const Flight& flight, Ede ede);
  void relay_back(const Flight& flight, ByteView reply, Instant now);

  // Time
  void want(ByteBuffer key);
  void want_points(Cut& cut);
  void build_cuts();
  Kept describe(ByteView key, const Cache::Hit& hit) const;

  ResponseForm form(const Query& query, const Client& client) const;
  ResponseForm stale_form(const Answer& answer, std::uint32_t zone, const Query& query, const Client& client) const;
  TtlLimits limits(std::uint32_t zone) const;
  bool keeps(std::uint32_t zone) const { return zone != kNoZone && config_.zones[zone].cache; }

  struct Imaging {
    SnapshotWriter writer;
    Cache::Walk walk{};
    std::uint64_t octets = 0;
  };
  static constexpr std::size_t kLongestAddress = 16;

  DnsConfig config_;
  Cookies cookies_;
  Zones zones_;
  Cache cache_;
  Flights flights_;
  std::vector<std::optional<Cut>> cuts_;  // of each zone
  std::uint64_t seed_;
  std::deque<ByteBuffer> wanted_;  // keys to be asked for, a few at a time
  Instant wanted_at_{};
  std::uint32_t wanted_now_ = 0;
  std::optional<Imaging> imaging_;  // while an image is being written
  Sketch clients_{kLongestAddress};
  IpAddress run_of_;       // who asked last,
  std::uint64_t run_ = 0;  // and how often, not yet in `clients_`
  Sketch names_{Key::kLongest};
  Sketch missing_{Key::kLongest};
  std::vector<Endpoint> sources_;                                         // Answer::source is a place in it, from 1
  std::vector<Outage> outages_;                                           // of each zone
  ByteBuffer asking_;                                                     // what Ask::query points to
  std::vector<std::uint8_t> scratch_ = std::vector<std::uint8_t>(65535);  // one delivery is written here, then copied
  Prepared prepared_;                                                     // whose memory the next answer's has
  Deliveries deliveries_;
  std::array<Read, kExpected> expected_;
  std::size_t expecting_ = 0;  // of them
  std::size_t next_ = 0;       // that on_query is to be called with
  Read alone_;
  ForwarderCounters counters_;
};

}  // namespace lastlight::dns
