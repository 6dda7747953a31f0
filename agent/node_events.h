// Kubernetes Events about our node that do not belong to a drain: what `kubectl describe node` should show. Each is
// tried a few times and then dropped; nothing waits for them.
#pragma once

#include <deque>
#include <string>

#include "agent/config.h"
#include "agent/io/http_client.h"
#include "agent/io/timer.h"
#include "agent/kube/requests.h"

namespace lastlight {

class NodeEvents {
 public:
  // `config` must outlive this.
  NodeEvents(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& api);
  ~NodeEvents();

  // Without a node's name or an API server: nothing. `reason` as Kubernetes spells reasons: CamelCase.
  void warn(const std::string& reason, const std::string& message);

 private:
  void send();
  void on_reply(const HttpReply& reply);

  static constexpr std::size_t kMaxWaiting = 8;
  static constexpr unsigned kTries = 5;
  static constexpr Duration kRetry = std::chrono::seconds(10);

  const Config& config_;
  const std::string api_server_;
  io::HttpClient& api_;
  std::deque<kube::NodeEvent> waiting_;  // the first is being sent
  unsigned tries_ = 0;                   // of the first
  io::HttpClient::RequestId request_ = 0;
  io::Timer timer_;
};

}  // namespace lastlight
