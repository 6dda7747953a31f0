// What the addresses of the configuration stand for, now and when that changes: `service:` by the kubelet's environment
// at once and by the API server as soon as it answers (the environment has one address family only), `node`, and the
// node's resolv.conf. Has the server listen on them and gives each zone its upstreams; owns the look-ups and the watch.
// An upstream that is one of our own listeners is never used, however late that is found out. After start() nothing
// throws: what fails later is logged once per reason and tried again while the rest serves.
//
// Known limit: a Service that is deleted and made anew gets another address; the agent keeps the old one until it
// restarts.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/base/backoff.h"
#include "agent/config.h"
#include "agent/io/file_watch.h"
#include "agent/io/http_client.h"
#include "agent/io/timer.h"
#include "agent/loop_guard.h"
#include "agent/service_lookup.h"
#include "dnscache/server.h"
#include "dnscache/takeover/plan.h"
#include "dnscache/upstream.h"

namespace lastlight {

class Addresses {
 public:
  using Listening = std::move_only_function<void(const Endpoint&)>;
  using Changed = std::move_only_function<void()>;

  // `config` must outlive this. `listening` is told of each socket pair that was opened, `changed` of
  // anything new.
  Addresses(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& api, dns::Server& server,
            dns::Upstream& upstream, Listening listening, Changed changed);

  // Opens what is known already. Throws std::runtime_error for what can never be had: an address that nothing can tell,
  // a port that is taken.
  void start();

  // Whether the zones of another configuration can be had: why not.
  std::optional<std::string> problem(const Config& next) const;
  // The configuration that was given has other zones now; their upstreams are those from here on.
  void reconfigure();

  // What is to be taken over; nothing in mode none, and until all is known that answering takes: a query that comes to
  // us must be better off than before.
  std::optional<dns::TakeoverPlan> takeover_plan() const;

  // Every address to listen on is served; of a Service with two families, one is enough: the node may lack the other.
  bool bound() const;
  const std::vector<Endpoint>& listening() const { return listening_; }
  // A query that one of our loop probes became: the size of its answer in `out`; 0 for every other query.
  std::size_t answer_probe(ByteView query, MutableByteView out) { return loops_.on_query(query, out); }
  // Upstreams that are not used because they are ourselves, or lead back to us.
  std::size_t refused_upstreams() const;

 private:
  void follow_resolv_conf();
  void start_service(const AddressSpec& spec);
  void on_service(const std::string& name, std::vector<IpAddress> addresses);
  std::vector<Endpoint> meaning(const AddressSpec& spec) const;
  std::vector<Endpoint> not_yet_listened(const AddressSpec& spec) const;
  std::expected<void, std::string> listen(const Endpoint& where);
  void listen_again();
  void apply_upstreams();
  void apply_upstreams(std::uint32_t zone);
  bool is_link_local(const IpAddress& address) const;
  std::optional<Endpoint> listener_reached_by(const Endpoint& upstream) const;
  void read_resolv_conf();

  static constexpr Duration kFirstRetry = std::chrono::milliseconds(500);
  static constexpr Duration kLongestRetry = std::chrono::seconds(30);

  io::Loop& loop_;
  const Config& config_;
  const std::string api_server_;
  io::HttpClient& api_;
  dns::Server& server_;
  dns::Upstream& upstream_;
  Listening told_;
  Changed changed_;
  const std::vector<AddressSpec> listen_;  // by the mode of the takeover

  std::map<std::string, std::vector<IpAddress>> services_;
  std::map<std::string, std::unique_ptr<ServiceLookup>> lookups_;
  std::vector<Endpoint> listening_;
  std::map<Endpoint, std::string> missing_;  // to be listened on, and why that failed
  unsigned failures_ = 0;
  Uniform uniform_;
  io::Timer again_;

  std::vector<IpAddress> resolv_conf_servers_;
  std::unique_ptr<io::FileWatch> resolv_conf_watch_;
  struct Zone {
    std::optional<std::vector<Endpoint>> upstreams;  // as last given to upstream_
    std::set<Endpoint> refused;
  };
  LoopGuard loops_;
  std::vector<Zone> zones_;
};

}  // namespace lastlight
