// What the agent says of its own takeover on the control socket, for `lastlight doctor`:
//   GET /takeover  {"node", "mode", "state", "interface", "port", "addresses": [...], "clusterDomain"}
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "agent/base/address.h"
#include "agent/config.h"
#include "agent/http/route_table.h"

namespace lastlight {

// `config` and what the functions refer to must outlive the table. `listening`: every address that is served.
void add_takeover_route(http::RouteTable& routes, const Config& config, std::function<std::string_view()> state,
                        std::function<std::vector<Endpoint>()> listening);

}  // namespace lastlight
