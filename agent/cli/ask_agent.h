// Asks the agent that runs on this node, over its control socket (agent/control/control.h). For commands.
#pragma once

#include <expected>
#include <string>

#include "agent/base/json.h"

namespace lastlight::cli {

// `target` is path and query; `body` is JSON, or empty. The reply's document, or why there is none: nobody listens, or
// the agent's own words.
std::expected<Json, std::string> ask_agent(const std::string& method, const std::string& target,
                                           const std::string& body = {});

}  // namespace lastlight::cli
