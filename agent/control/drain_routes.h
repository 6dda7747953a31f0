// A person's notice, as routes of the control socket:
//   POST /drain?kind=KIND&milliseconds=N   {"id", "treatment"}; 409 where one stands already or nothing drains here
//   POST /drain/cancel                     {}; 409 where none stands
#pragma once

#include <functional>

#include "agent/http/route_table.h"
#include "interrupt/controller.h"

namespace lastlight {

// `controller` is null while this agent does not look after interruptions.
void add_drain_routes(http::RouteTable& routes, const std::function<interrupt::Controller*()>& controller);

}  // namespace lastlight
