// Where the API server is: the configured one, or what the kubelet tells every pod (KUBERNETES_SERVICE_HOST and _PORT).
#pragma once

#include <functional>
#include <string>

#include "agent/config.h"

namespace lastlight {

// No trailing slash; empty when nothing names one.
std::string api_server_url(const KubernetesConfig& config, const std::function<const char*(const char*)>& environment);

}  // namespace lastlight
