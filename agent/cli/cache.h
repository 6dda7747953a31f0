// `lastlight cache get|flush|top`: asks the running agent (agent/control/cache_routes.h) and prints what it says.
#pragma once

#include <iosfwd>
#include <string>

#include "agent/base/json.h"
#include "agent/cli/options.h"

namespace lastlight::cli {

// 0; 1 when nobody answers, or when nothing is kept for the name.
int cache(const CacheCommand& command, std::ostream& out, std::ostream& errors);

// For people. The document is the agent's.
std::string cache_text(const CacheCommand& command, const Json& document);

}  // namespace lastlight::cli
