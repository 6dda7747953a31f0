// The dry run of a drain: what it asks the API server, and the plan that comes of it. Changes nothing.
#pragma once

#include <expected>
#include <string>

#include "agent/base/json.h"
#include "agent/cli/options.h"
#include "agent/config.h"

namespace lastlight::cli {

// The plan (drain.h), or why none can be made.
std::expected<Json, std::string> dry_run(const DrainCommand& command, const Config& config,
                                         const std::string& api_server);

// Would every pod be told, and everything be permitted?
bool flawless(const Json& plan);

}  // namespace lastlight::cli
