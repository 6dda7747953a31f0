#include "agent/service_lookup.h"

#include "agent/io/http_once.h"
#include "agent/io/jitter.h"
#include "agent/io/small_file.h"
#include "agent/kube/requests.h"
#include "agent/kube/service.h"

namespace lastlight {

namespace {

HttpRequest request_for(const std::string& api_server, const KubernetesConfig& config, const std::string& service) {
  const kube::Server server{.base_url = api_server, .token = io::read_secret(config.token_file)};
  return kube::get_service(server, config.namespace_name, service);
}

std::expected<std::vector<IpAddress>, std::string> addresses_in(const HttpReply& reply) {
  if (reply.status == 0) return std::unexpected(reply.error);
  if (!reply.ok()) return std::unexpected("the API server answered " + std::to_string(reply.status));
  auto addresses = kube::cluster_ips(reply.body);
  if (addresses.empty()) return std::unexpected("it has no cluster IP");
  return addresses;
}

}  // namespace

std::expected<std::vector<IpAddress>, std::string> look_up_service(const std::string& api_server,
                                                                   const KubernetesConfig& config,
                                                                   const std::string& service) {
  return addresses_in(io::http_once(request_for(api_server, config, service), config.ca_file));
}

ServiceLookup::ServiceLookup(io::Loop& loop, io::HttpClient& api, std::string api_server,
                             const KubernetesConfig& config, std::string service, Found found, Failing failing)
    : api_(api),
      api_server_(std::move(api_server)),
      config_(config),
      service_(std::move(service)),
      found_(std::move(found)),
      failing_(std::move(failing)),
      uniform_(io::jitter()),
      timer_(loop, [this] { ask(); }) {
  timer_.start_in(Duration::zero());
}

ServiceLookup::~ServiceLookup() {
  api_.cancel(request_);
}

void ServiceLookup::ask() {
  request_ =
      api_.send(request_for(api_server_, config_, service_), [this](const HttpReply& reply) { on_reply(reply); });
}

void ServiceLookup::on_reply(const HttpReply& reply) {
  request_ = 0;
  auto addresses = addresses_in(reply);
  if (addresses) return found_(std::move(*addresses));
  if (addresses.error() != last_error_) failing_(addresses.error());
  last_error_ = std::move(addresses.error());
  timer_.start_in(backoff(kFirstRetry, kLongestRetry, ++failures_, uniform_()));
}

}  // namespace lastlight
