// Which upstream a question is asked of, by which protocol, how long it may take, and what happens when it fails. Pure:
// it is told the instant and says what to send; the transport carries bytes and matches replies to attempts (RFC 5452
// s9: another ID, another question or another sender is not a reply). Never reads a message.
//
// A question has at most three attempts within query_timeout, each attempt_timeout long; an answer truncated over UDP
// is asked for again over TCP at the same upstream (RFC 7766 s5), which is no attempt of its own. An upstream that
// refused, or stayed silent twice running, is asked last until its probation: then one question tries it, and its
// success restores it (RFC 9520 s3.2: back-off).
#pragma once

#include <cstdint>
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
#include "dnscache/forwarder.h"

namespace lastlight::dns {

struct UpstreamPoolCounters {
  std::uint64_t attempts = 0;
  std::uint64_t retries = 0;         // attempts after the first
  std::uint64_t tcp_fallbacks = 0;   // after TC over UDP
  std::uint64_t timeouts = 0;        // attempts
  std::uint64_t network_errors = 0;  // attempts
  std::uint64_t late = 0;            // replies and failures of attempts that no longer count
};

class UpstreamPool {
 public:
  static constexpr std::uint32_t kMaxAttempts = 3;
  static constexpr Duration kFirstProbation = std::chrono::seconds(1);
  static constexpr Duration kLongestProbation = std::chrono::seconds(30);

  struct Send {
    FlightId flight = 0;
    std::uint32_t attempt = 0;  // counts from 1 within the flight
    Endpoint to;
    Protocol protocol = Protocol::Udp;
  };
  struct Finish {
    FlightId flight = 0;
    Failure why = Failure::Timeout;
  };
  using Order = std::variant<Send, Finish>;

  UpstreamPool(Duration attempt_timeout, Duration query_timeout);

  // Replaces a zone's list. Flights under way go on with what they were given.
  void set_upstreams(std::uint32_t zone, std::vector<Endpoint> upstreams, Protocol protocol);

  Order start(FlightId flight, std::uint32_t zone, Instant now);

  struct Verdict {
    bool deliver = false;        // the reply is the flight's answer; the flight is over
    std::optional<Order> order;  // otherwise, what to do about it
  };
  Verdict on_reply(FlightId flight, std::uint32_t attempt, bool truncated, Instant now);
  std::optional<Order> on_failure(FlightId flight, std::uint32_t attempt, Failure why, Instant now);
  std::vector<Order> on_time(Instant now);
  Instant next_deadline() const { return deadlines_.empty() ? kNever : deadlines_.begin()->first; }

  std::size_t flights() const { return flights_.size(); }
  bool healthy(const Endpoint& upstream) const { return !health_.contains(upstream) || !health_.at(upstream).down; }
  // Every upstream a zone names, and whether it answers as far as is known.
  std::map<Endpoint, bool> health() const;
  const UpstreamPoolCounters& counters() const { return counters_; }

 private:
  struct Zone {
    std::vector<Endpoint> upstreams;
    Protocol protocol = Protocol::Udp;
  };
  struct Health {
    std::uint32_t silences = 0;  // in a row
    bool down = false;
    Duration probation{};
    Instant retry_at{};
  };
  struct Flight {
    std::vector<Endpoint> upstreams;
    Protocol protocol = Protocol::Udp;  // of the next fresh attempt
    std::vector<std::uint32_t> tried;   // how often, per upstream
    std::uint32_t attempt = 0;          // the last one sent
    std::uint32_t fresh = 0;            // attempts that count
    std::size_t asked = 0;              // the upstream of the last one
    Protocol over = Protocol::Udp;      // its protocol
    Instant deadline{};                 // its
    Instant end{};                      // the flight's
    std::vector<std::pair<Endpoint, Protocol>> sent;
  };

  std::size_t choose(const Flight& flight, Instant now);
  Order send(FlightId id, Flight& flight, std::size_t upstream, Protocol protocol, Instant now);
  Order next(FlightId id, Flight& flight, Failure why, Instant now);
  Finish finish(FlightId id, Failure why);
  void forget(FlightId id);
  void failed(const Endpoint& upstream, Failure why, Instant now);

  Duration attempt_timeout_;
  Duration query_timeout_;
  std::unordered_map<std::uint32_t, Zone> zones_;
  std::map<Endpoint, Health> health_;  // only of upstreams some zone names, and that have failed
  std::unordered_map<FlightId, Flight> flights_;
  std::set<std::pair<Instant, FlightId>> deadlines_;
  UpstreamPoolCounters counters_;
};

}  // namespace lastlight::dns
