// Carries questions to the upstreams and replies back, with c-ares as the transport (the only file that includes
// ares.h). What is asked of whom, and when it is given up, is UpstreamPool's; this owns channels, sockets, transaction
// IDs and the two timers.
//
// One c-ares channel has one server, one protocol and one socket. Over UDP eight channels per upstream are open at a
// time, one drawn at random per question and each replaced after 200 questions or 10 s, so that neither ID nor source
// port can be guessed (RFC 5452 s9.2). Over TCP a question takes an idle connection or opens another, since a server
// may answer one connection strictly in order; at 32 connections the least loaded is shared. c-ares matches a reply by
// ID, question and sender, ignores all else and keeps waiting.
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
  std::uint64_t replies = 0;
  std::uint64_t channels_opened = 0;
  std::uint64_t channels = 0;  // gauge
  std::uint64_t flights = 0;   // gauge
};

class Upstream {
 public:
  // The reply as it came, or why there is none. Called once per Ask, never from within ask(); valid during the call.
  // May call ask().
  using Result = std::move_only_function<void(FlightId, std::expected<ByteView, Failure>)>;

  Upstream(io::Loop& loop, const DnsConfig& config, Result result);
  ~Upstream();  // flights under way end without a word

  void set_upstreams(std::uint32_t zone, std::vector<Endpoint> upstreams, Protocol protocol);
  void ask(const Ask& ask);
  std::map<Endpoint, bool> health() const;  // see UpstreamPool
  UpstreamCounters counters() const;

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace lastlight::dns
