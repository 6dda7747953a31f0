// What people may ask of the cache, and what they may have forgotten, as routes of the control socket:
//   GET  /cache/entry?name=NAME&type=TYPE       each way the question was asked (DO, CD, RD), with its records
//   POST /cache/flush?name=NAME | zone=NAME | all=1
//   GET  /cache/top?most=N                      by hits, of names and of missing names; clients by queries
#pragma once

#include <functional>

#include "agent/base/time.h"
#include "agent/http/route_table.h"
#include "dnscache/forwarder.h"

namespace lastlight {

// The forwarder, and what `now` refers to, must outlive the table.
void add_cache_routes(http::RouteTable& routes, dns::Forwarder& forwarder, const std::function<Instant()>& now);

}  // namespace lastlight
