// Asks the API server for a Service's cluster IPs until it answers, with back-off, while the rest of the agent serves:
// the kubelet's environment has them only for Services that existed when the pod started, and of one family only.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/backoff.h"
#include "agent/config.h"
#include "agent/io/http_client.h"
#include "agent/io/timer.h"

namespace lastlight {

// One GET, waiting two seconds at most: for commands, which have no loop of their own.
std::expected<std::vector<IpAddress>, std::string> look_up_service(const std::string& api_server,
                                                                   const KubernetesConfig& config,
                                                                   const std::string& service);

class ServiceLookup {
 public:
  using Found = std::move_only_function<void(std::vector<IpAddress>)>;
  // Told once per change of the reason.
  using Failing = std::move_only_function<void(const std::string& why)>;

  ServiceLookup(io::Loop& loop, io::HttpClient& api, std::string api_server, const KubernetesConfig& config,
                std::string service, Found found, Failing failing);
  ~ServiceLookup();

 private:
  void ask();
  void on_reply(const HttpReply& reply);

  static constexpr Duration kFirstRetry = std::chrono::milliseconds(500);
  static constexpr Duration kLongestRetry = std::chrono::seconds(30);

  io::HttpClient& api_;
  std::string api_server_;
  const KubernetesConfig& config_;
  std::string service_;
  Found found_;
  Failing failing_;
  std::string last_error_;
  unsigned failures_ = 0;
  Uniform uniform_;
  io::HttpClient::RequestId request_ = 0;
  io::Timer timer_;
};

}  // namespace lastlight
