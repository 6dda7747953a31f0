// What a Service object says of its addresses.
#pragma once

#include <string_view>
#include <vector>

#include "agent/base/address.h"

namespace lastlight::kube {

// spec.clusterIPs (dual stack), else spec.clusterIP; none of a headless Service ("None") or of anything that is no
// Service.
std::vector<IpAddress> cluster_ips(std::string_view service_json);

}  // namespace lastlight::kube
