// Which upstream a question is asked of, on which channel, when it is asked again elsewhere, and when it is given up.
// Pure: it is told the instant and says what to do; the transport carries bytes and matches replies to what was sent
// (RFC 5452 s9: another ID, another question or another sender is not a reply). Never reads a message.
//
// A question has at most three attempts within query_timeout. The second is a hedge: after the upstream's learned p99,
// or eight medians when that is less, it goes to another upstream, or to the same by another way (past a connection
// that answers in order, by UDP), and so does the third, unless the upstream answers nobody and a datagram would be all
// there is to lose again, or both ways are heard from and second attempts seldom win: then the answer is what is slow,
// and to ask for it once more would cost the upstream as much again. Hedges are paid from a budget, a quarter of the
// questions, so that a slow upstream is not asked twice as much; what it cannot pay is due again a moment later, as
// slow names make turns long and a burst of lost datagrams is more than was saved. A question that is stuck behind
// another's slow answer is moved without paying. An attempt that nobody answers within its turn, four p99 but at least
// 250 ms, is a failure of the upstream if nothing else was heard from it, and of its channel: a connection that is
// silent for a turn is abandoned, and its other questions move at once. An answer truncated over UDP is asked for again
// over TCP at the same upstream (RFC 7766 s5), which is no attempt of its own.
//
// What reached nobody is no attempt either: a refusal (a connection's, port unreachable), or a connection that has not
// come about after eight medians, which fails for all its questions at once. Behind one address others may answer, so
// the question goes by a new channel at once, and after four of these waits a moment; a few times, while something was
// heard of its upstream in the last two seconds, and three times otherwise.
//
// When every upstream of a zone is down (UpstreamHealth), questions wait: one at a time is sent as a probe, and each
// answer lets two more go, so nothing storms an upstream that is coming back. Questions for a guarded upstream wait for
// the pace. Bounds: kMaxWaiting questions wait in each of the two queues; beyond, and when the pace would keep one past
// its life, a question ends at once, counted.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/time.h"
#include "agent/config.h"
#include "dnscache/deadlines.h"
#include "dnscache/forwarder.h"
#include "dnscache/pace.h"
#include "dnscache/slots.h"
#include "dnscache/upstream_channels.h"
#include "dnscache/upstream_health.h"
#include "dnscache/upstream_latency.h"

namespace lastlight::dns {

struct UpstreamPoolCounters {
  std::uint64_t attempts = 0;
  std::uint64_t retries = 0;         // attempts after the first
  std::uint64_t hedges = 0;          // of those: sent while the first might still be answered
  std::uint64_t hedges_won = 0;      // questions answered by a later attempt than the first
  std::uint64_t hedges_refused = 0;  // over the budget or the pace
  std::uint64_t moved = 0;           // asked again since another question blocked the connection
  std::uint64_t tcp_fallbacks = 0;   // after TC over UDP
  std::uint64_t udp_overflows = 0;   // sent over UDP since no connection was free
  std::uint64_t timeouts = 0;        // attempts whose turn ended
  std::uint64_t network_errors = 0;  // attempts
  std::uint64_t refused = 0;         // attempts that reached nobody
  std::uint64_t unreachable = 0;     // connections that did not come about in time
  std::uint64_t late = 0;            // replies to questions that were over
  std::uint64_t breaker_opened = 0;
  std::uint64_t probes = 0;
  std::uint64_t waited = 0;  // questions that found every upstream down
  std::uint64_t paced = 0;   // questions that waited for the pace
  std::uint64_t shed = 0;    // questions ended at once: the queue was full, or the pace too slow for them
};

// What is known of one upstream, for people.
struct UpstreamView {
  bool healthy = true;
  bool in_order = true;
  bool guarded = false;
  std::size_t connections = 0;
  Duration median{};
  Duration p99{};
};

class UpstreamPool {
 public:
  static constexpr std::uint32_t kMaxAttempts = 3;
  static constexpr std::uint32_t kMaxRefused = 16;
  static constexpr std::uint32_t kRefusedAtOnce = 4;
  static constexpr Duration kLeastTurn = std::chrono::milliseconds(250);
  static constexpr Duration kLeastSecondHedge = std::chrono::milliseconds(60);
  static constexpr Duration kHedgeTick = std::chrono::milliseconds(100);  // when one that was not sent is due again
  static constexpr Duration kLoopTurn = std::chrono::milliseconds(5);
  static constexpr double kHedgeShare = 0.25;
  static constexpr double kOfUse = 0.125;  // of second attempts that win: then a third is tried early
  static constexpr double kForget = 0.125;
  static constexpr double kHedgeSavings = 50;
  static constexpr std::size_t kMaxWaiting = 1024;
  static constexpr Duration kSweep = std::chrono::seconds(1);
  static constexpr Duration kParkedTick = std::chrono::milliseconds(50);
  static constexpr std::size_t kParkedAtOnce = 16;  // that may go when an upstream is back, each tick

  struct Send {
    SendId id = 0;
    FlightId flight = 0;
    ChannelId channel = 0;  // one not heard of before is to be opened
    Endpoint to;
    Protocol protocol = Protocol::Udp;
  };
  struct Close {
    ChannelId channel = 0;  // nobody waits for anything on it
  };
  struct Finish {
    FlightId flight = 0;
    Failure why = Failure::Timeout;
  };
  using Order = std::variant<Send, Close, Finish>;
  using Orders = std::vector<Order>;

  UpstreamPool(const DnsConfig& config, UpstreamChannels::Draw draw);

  // Replaces a zone's list. Flights under way go on with what they were given.
  void set_upstreams(std::uint32_t zone, std::vector<Endpoint> upstreams, Protocol protocol, Guard guard);

  // Those at these addresses are about to go: each is asked only when every other has been tried as often.
  void avoid(const std::vector<IpAddress>& addresses);

  void start(FlightId flight, std::uint32_t zone, Instant now, Orders& out, bool too_long_for_udp = false);
  enum class Reply : std::uint8_t {
    Whole,
    Truncated,    // TC=1
    FormatError,  // an answer, but c-ares 1.18 may have spoiled its channel over it: see UpstreamChannels::retire
  };
  // The flight that this answers, which is over then.
  std::optional<FlightId> on_reply(SendId send, Reply reply, Instant now, Orders& out);
  void on_failure(SendId send, Failure why, Instant now, Orders& out);
  void on_connected(ChannelId channel);  // a TCP connection has come about
  void on_time(Instant now, Orders& out);
  Instant next_deadline() const;
  void metadata_packets(std::uint32_t packets, Instant now) { pace_.spend(packets, now); }

  std::size_t flights() const { return flights_.size(); }
  std::size_t waiting() const { return parked_.size() + paced_.size(); }
  bool healthy(const Endpoint& upstream) const;
  // Every upstream a zone names.
  std::map<Endpoint, UpstreamView> view(Instant now) const;
  const UpstreamPoolCounters& counters() const { return counters_; }
  const PaceCounters& pace_counters() const { return pace_.counters(); }

 private:
  struct Zone {
    std::vector<Endpoint> upstreams;
    Protocol protocol = Protocol::Udp;
    Guard guard = Guard::Auto;
  };
  struct Peer {
    Endpoint endpoint;
    UpstreamChannels channels;
    LearnedLatency latency;
    UpstreamHealth health;
    double second_wins = 1;  // the share of late of questions asked twice that the second attempt answered
    bool guarded = false;
    bool named = true;     // by a zone
    bool avoided = false;  // it is about to go
  };
  struct Candidate {
    Peer* peer = nullptr;  // peers outlive the flights that may ask them
    std::uint32_t tried = 0;
  };
  enum class Wait : std::uint8_t { Answer, Upstream, Pace };
  struct Flight {
    std::vector<Candidate> upstreams;
    Protocol protocol = Protocol::Udp;
    Wait wait = Wait::Answer;
    std::uint32_t attempts = 0;
    std::uint32_t sent = 0;  // of `sends`
    std::array<SendId, kMaxAttempts + 1> sends{};
    std::uint32_t refused = 0;  // attempts that reached nobody
    bool tcp_asked = false;     // after TC
    bool queued = false;        // it has waited its turn for the pace
    bool behind = false;        // the last send is behind others on a connection
    Instant asked{};            // the last send
    Failure why = Failure::Timeout;
    Instant turn_ends{};        // of the last send
    Instant deadline = kNever;  // when the flight is looked at next
    Instant end{};
  };
  struct Sent {
    FlightId flight = 0;
    Peer* peer = nullptr;
    ChannelId channel = 0;
    Instant at{};
    bool judged = false;  // its turn is over
  };
  enum class Why : std::uint8_t { First, Retry, Refused, Hedge, Moved };

  static std::pair<std::uint32_t, bool> rank(const Candidate& candidate);
  Candidate* choose(Flight& flight, Why why, Instant now);
  Protocol protocol_for(const Flight& flight, const Candidate& candidate, Instant now) const;
  void ask(FlightId id, Flight& flight, Why why, Instant now, Orders& out);
  bool send(FlightId id, Flight& flight, Candidate& to, Protocol protocol, Why why, Instant now, Orders& out);
  void wait_for(Wait what, FlightId id, Flight& flight, Instant now, Orders& out);
  void overdue(FlightId id, Flight& flight, Instant now, Orders& out);
  void turn_over(SendId send, Instant now);
  void move_from(const Sent& silent, Instant now);
  bool give_up_unreachable(FlightId id, Instant now, Orders& out);
  std::optional<FlightId> take(SendId send, const Sent& sent, Reply reply, bool over_tcp, Instant now, Orders& out);
  void failed(SendId send, const Sent& sent, Failure why, bool reached, Instant now, Orders& out);
  bool has_open(const Flight& flight) const;
  bool may_hedge(Flight& flight, Instant now);
  bool all_ways_heard(const Flight& flight) const;
  UpstreamChannels::Place place(Peer& peer, const Flight& flight, Protocol protocol, Why why, Instant now);
  Instant next_look(const Flight& flight, const Peer& peer, const UpstreamChannels::Place& place, Instant now) const;
  void again(FlightId id, Flight& flight, bool quickly, Instant now, Orders& out);
  void serve_parked(std::size_t most, Instant now, Orders& out);
  void serve_paced(Instant now, Orders& out);
  bool may_be_asked(const Peer& peer) const;
  void sweep(Instant now, Orders& out);
  void set_deadline(FlightId id, Flight& flight, Instant when);
  void settle_deadlines();
  void finish(FlightId id, Failure why, Orders& out);
  void forget(FlightId id);
  void forget_send(SendId send);
  void blame(Peer& peer, Instant sent, bool refused, Instant now);
  Duration turn(const Peer& peer) const;

  Duration attempt_timeout_;
  Duration query_timeout_;
  UpstreamChannels::Draw draw_;
  Pace pace_;
  std::unordered_map<std::uint32_t, Zone> zones_;
  std::map<Endpoint, Peer> peers_;
  std::set<IpAddress> avoided_;
  Slots<Flight> flights_;
  Places sends_;
  Slots<Sent> sent_;  // no verdict yet; bounded by what the transport gives up in query_timeout
  Deadlines deadlines_;
  std::deque<FlightId> parked_;  // every upstream of theirs is down; may name flights that are over
  std::deque<FlightId> paced_;   // likewise
  double hedge_budget_ = kHedgeSavings;
  Instant sweep_at_ = kNever;
  Instant parked_at_ = kNever;  // when the parked are looked at next
  ChannelId last_channel_ = 0;
  UpstreamPoolCounters counters_;
};

}  // namespace lastlight::dns
