// What an AddressSpec means on this node, as far as the environment tells: the kubelet sets NAME_SERVICE_HOST for every
// Service of the pod's namespace. A Service that is not there needs a GET; that is the caller's. Pure.
#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "agent/config.h"

namespace lastlight {

// KUBE_DNS_SERVICE_HOST for kube-dns: upper case, dashes become underscores.
std::string service_host_variable(std::string_view service);

// The endpoint, or why it is not known yet.
std::expected<Endpoint, std::string> resolve_address(const AddressSpec& spec, const std::optional<IpAddress>& node_ip,
                                                     const std::function<const char*(const char*)>& environment);

}  // namespace lastlight
