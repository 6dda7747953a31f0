// `lastlight status --ready|--alive`: asks the running agent's HTTP port; what a Kubernetes exec probe runs.
#pragma once

#include <iosfwd>

#include "agent/cli/options.h"

namespace lastlight::cli {

// 0 if the agent answers 200; 1 otherwise, with the reason on `errors`. Waits two seconds at most.
int status(const Command& command, std::ostream& out, std::ostream& errors);

}  // namespace lastlight::cli
