#include "agent/api_server.h"

#include "agent/base/address.h"

namespace lastlight {

std::string api_server_url(const KubernetesConfig& config, const std::function<const char*(const char*)>& environment) {
  std::string url = config.api_server;
  while (!url.empty() && url.back() == '/')
    url.pop_back();
  if (!url.empty()) return url;
  const char* host = environment("KUBERNETES_SERVICE_HOST");
  const char* port = environment("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || *host == '\0') return {};
  const auto address = IpAddress::parse(host);
  const std::string name = address && address->is_v6() ? "[" + std::string(host) + "]" : std::string(host);
  return "https://" + name + ":" + (port != nullptr && *port != '\0' ? port : "443");
}

}  // namespace lastlight
