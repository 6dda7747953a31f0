#include "agent/control/takeover_route.h"

#include <utility>

namespace lastlight {

namespace {

const char* name(TakeoverConfig::Mode mode) {
  using Mode = TakeoverConfig::Mode;
  return mode == Mode::None ? "none" : mode == Mode::Intercept ? "intercept" : "link-local";
}

}  // namespace

void add_takeover_route(http::RouteTable& routes, const Config& config, std::function<std::string_view()> state,
                        std::function<std::vector<Endpoint>()> listening) {
  routes.add("GET", "/takeover",
             [&config, state = std::move(state), listening = std::move(listening)](const http::Call&) {
               Json addresses = Json::array();
               std::uint16_t port = 53;
               for (const Endpoint& each : listening()) {
                 addresses.push_back(each.address.to_string());
                 port = each.port;
               }
               return http::json_reply({{"node", config.node_name},
                                        {"mode", name(config.takeover.mode)},
                                        {"state", std::string(state())},
                                        {"interface", config.takeover.interface},
                                        {"port", port},
                                        {"addresses", std::move(addresses)},
                                        {"clusterDomain", config.dns.cluster_domain}});
             });
}

}  // namespace lastlight
