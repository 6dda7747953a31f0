#include "agent/config/service_address.h"

namespace lastlight {

std::string service_host_variable(std::string_view service) {
  std::string out(service);
  for (char& c : out) {
    if (c == '-') c = '_';
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return out + "_SERVICE_HOST";
}

std::expected<Endpoint, std::string> resolve_address(const AddressSpec& spec, const std::optional<IpAddress>& node_ip,
                                                     const std::function<const char*(const char*)>& environment) {
  switch (spec.kind) {
    case AddressSpec::Kind::Literal:
      return Endpoint{spec.address, spec.port};
    case AddressSpec::Kind::Node:
      if (!node_ip) return std::unexpected("node-ip is not set (NODE_IP)");
      return Endpoint{*node_ip, spec.port};
    case AddressSpec::Kind::Service:
      break;
  }
  const std::string variable = service_host_variable(spec.service);
  const char* value = environment(variable.c_str());
  if (!value || !*value) return std::unexpected(variable + " is not set");
  const auto address = IpAddress::parse(value);
  // "None" is what a headless Service gives.
  if (!address) return std::unexpected(variable + " is no address: " + value);
  return Endpoint{*address, spec.port};
}

}  // namespace lastlight
