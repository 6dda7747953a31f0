// Carries questions to the upstreams and replies back. What is asked of whom, on which channel, and when it is given
// up, is UpstreamPool's; this carries out its orders on c-ares channels, keeps each question's bytes for another
// attempt, and owns the timers.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "agent/config.h"
#include "agent/io/loop.h"
#include "dnscache/forwarder.h"
#include "dnscache/upstream_pool.h"

namespace lastlight::dns {

struct UpstreamCounters {
  UpstreamPoolCounters pool;
  PaceCounters pace;
  std::uint64_t replies = 0;
  std::uint64_t channels_opened = 0;
  std::uint64_t channels = 0;  // gauge
  std::uint64_t flights = 0;   // gauge
  std::uint64_t waiting = 0;   // gauge: of those, for an upstream or the pace
};

class Upstream {
 public:
  // The reply as it came, or why there is none. Called once per Ask, never from within ask(); valid during the call.
  // May call ask().
  struct Reply {
    ByteView message;
    Endpoint from;
  };
  using Result = std::move_only_function<void(FlightId, std::expected<Reply, Failure>)>;

  Upstream(io::Loop& loop, const DnsConfig& config, Result result);
  ~Upstream();  // flights under way end without a word

  void set_upstreams(std::uint32_t zone, std::vector<Endpoint> upstreams, Protocol protocol, Guard guard = Guard::Auto);
  void ask(const Ask& ask);
  void avoid(const std::vector<IpAddress>& addresses);  // of upstreams that are about to go
  void metadata_packets(std::uint32_t packets);         // were sent to the metadata service: they count toward the pace
  std::map<Endpoint, bool> health() const;              // of every upstream a zone names
  std::map<Endpoint, UpstreamView> view() const;
  UpstreamCounters counters() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace lastlight::dns
