// The composition root: its members, in order, are the architecture; shutdown is the reverse. It wires and decides
// nothing: cores decide, shells carry out. Nobody else wires, but agent/interruption that half.
#pragma once

#include <string>
#include <vector>

#include "agent/addresses.h"
#include "agent/base/histogram.h"
#include "agent/cache_image.h"
#include "agent/config.h"
#include "agent/control/control.h"
#include "agent/http/routes.h"
#include "agent/http_listeners.h"
#include "agent/interruption.h"
#include "agent/io/address_events.h"
#include "agent/io/http_client.h"
#include "agent/io/loop.h"
#include "agent/io/signal.h"
#include "agent/io/timer.h"
#include "agent/last_pods.h"
#include "agent/leaving.h"
#include "agent/node_events.h"
#include "agent/on_this_node.h"
#include "agent/own_names.h"
#include "agent/reloading.h"
#include "agent/self_probe.h"
#include "agent/supervised.h"
#include "agent/taint_removal.h"
#include "agent/takeover.h"
#include "dnscache/forwarder.h"
#include "dnscache/server.h"
#include "dnscache/upstream.h"
#include "metrics/scrape.h"

namespace lastlight {

class App {
 public:
  // `supervisor` is the channel that supervise() returned; empty: none.
  // `load` reads the configuration anew from `file` and what it leads to.
  App(Config config, const std::string& file, Reloading::Load load, io::FileDescriptor supervisor);
  // Serves until told to leave. The process's exit code.
  int run();

 private:
  // DNS
  void ask_upstream(const dns::Ask& ask);
  void on_upstream(dns::FlightId flight, std::expected<dns::Upstream::Reply, dns::Failure> reply);
  void deliver(std::span<const dns::Delivery> deliveries);
  void follow_forwarder();
  std::optional<std::string> reconfigure(const Config& next);
  void resolve_own(const std::string& host, OwnNames::Done done);
  // Interruption, seeing, leaving
  void on_drain_started();
  void on_standby(bool waiting);
  void on_terminate();
  void settle_leaving();
  void on_takeover(Takeover::State state);
  void count_cut_connections();
  void follow_node_addresses();
  void measure_lag();
  void beat(Instant now);
  void count_metadata_packets();
  metrics::Scrape scrape() const;
  void avoid_this_node();
  std::size_t owed() const;
  http::Readiness readiness() const;

  Config config_;  // as it is in force
  const std::string api_server_;
  io::Loop loop_;
  Supervised supervisor_;
  Leaving leaving_;
  int exit_code_ = 0;
  bool standby_ = false;  // a successor serves

  dns::Forwarder forwarder_;
  Instant forwarder_due_ = kNever;  // what forwarder_timer_ is set to
  io::Timer forwarder_timer_;
  CacheImage cache_image_;
  dns::Upstream upstream_;
  dns::Server server_;
  OwnNames own_names_;
  SelfProbe self_probe_;

  io::HttpClient metadata_client_;
  io::HttpClient api_client_;
  NodeEvents node_events_;
  TaintRemoval taint_removal_;
  Addresses addresses_;
  Reloading reloading_;
  Takeover takeover_;
  std::uint64_t takeover_cut_connections_ = 0;  // of clients, by the end of a lease
  io::AddressEvents address_events_;
  Interruption interruption_;

  Control control_;
  HttpListeners http_;
  Instant started_{};
  Histogram loop_lag_;
  Instant lag_due_{};
  Instant lag_at_{};               // when it was looked at last,
  std::uint64_t lag_queries_ = 0;  // and how many had been asked
  Instant beat_due_{};
  std::uint64_t metadata_requests_ = 0;  // that the pace of guarded upstreams knows of
  io::Timer lag_timer_;
  LastPods last_pods_;
  io::Timer leaving_timer_;
  io::Signal terminate_;
  io::Signal interrupted_;
};

}  // namespace lastlight
