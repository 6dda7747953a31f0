// A drain from the command line, where no agent runs: the agent's own drain (interrupt/drain_runner) on a loop of this
// process, under the node's annotation as its lock. Beside it no metadata service is asked, no hook told, no state file
// kept. To be run on the node itself: what it saves counts on that machine's clock.
#pragma once

#include <iosfwd>
#include <string>

#include "agent/cli/options.h"
#include "agent/config.h"

namespace lastlight::cli {

// ForReal: returns when the pods are gone or the time is over, 0 when each was told; SIGINT and SIGTERM take the marks
// away first. The marks stay otherwise: Cancel takes them away. 1: another holds the node, or it failed.
int drain_standalone(const DrainCommand& command, const Config& config, const std::string& api_server,
                     std::ostream& out, std::ostream& errors);

}  // namespace lastlight::cli
