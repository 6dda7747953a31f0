#include "agent/service_lookup.h"

#include <algorithm>

#include "agent/io/small_file.h"
#include "agent/kube/requests.h"
#include "agent/kube/service.h"

namespace lastlight {

ServiceLookup::ServiceLookup(io::Loop& loop, io::HttpClient& api, std::string api_server,
                             const KubernetesConfig& config, std::string service, Found found, Failing failing)
    : api_(api),
      api_server_(std::move(api_server)),
      config_(config),
      service_(std::move(service)),
      found_(std::move(found)),
      failing_(std::move(failing)),
      timer_(loop, [this] { ask(); }) {
  timer_.start_in(Duration::zero());
}

ServiceLookup::~ServiceLookup() {
  api_.cancel(request_);
}

void ServiceLookup::ask() {
  const kube::Server server{.base_url = api_server_, .token = io::read_secret(config_.token_file)};
  request_ = api_.send(kube::get_service(server, config_.namespace_name, service_),
                       [this](const HttpReply& reply) { on_reply(reply); });
}

void ServiceLookup::on_reply(const HttpReply& reply) {
  request_ = 0;
  if (reply.ok()) {
    if (auto addresses = kube::cluster_ips(reply.body); !addresses.empty()) return found_(std::move(addresses));
  }
  std::string why = reply.status == 0 ? reply.error
                    : reply.ok()      ? "it has no cluster IP"
                                      : "the API server answered " + std::to_string(reply.status);
  if (why != last_error_) failing_(why);
  last_error_ = std::move(why);
  timer_.start_in(retry_);
  retry_ = std::min(retry_ * 2, kLongestRetry);
}

}  // namespace lastlight
