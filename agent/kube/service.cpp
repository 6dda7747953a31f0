#include "agent/kube/service.h"

#include "agent/base/json.h"

namespace lastlight::kube {

std::vector<IpAddress> cluster_ips(std::string_view service_json) {
  const auto service = parse_json(service_json);
  if (!service) return {};
  std::vector<IpAddress> out;
  if (const Json* many = find(*service, "spec", "clusterIPs"); many != nullptr && many->is_array()) {
    for (const Json& one : *many) {
      if (!one.is_string()) continue;
      if (const auto address = IpAddress::parse(one.get_ref<const std::string&>())) out.push_back(*address);
    }
  }
  if (out.empty()) {
    if (const auto address = IpAddress::parse(string_at(*service, "spec", "clusterIP"))) out.push_back(*address);
  }
  return out;
}

}  // namespace lastlight::kube
