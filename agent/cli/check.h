// `lastlight check`: the effective configuration, what its service: and node addresses mean on this node, and every
// problem. Reads the file and the environment given; opens no socket.
#pragma once

#include <iosfwd>

#include "agent/cli/options.h"

namespace lastlight::cli {

// The file, this environment, then the command line's flags.
ConfigResult read_config(const Command& command, const Environment& environment);

// 0, or 1 if anything is wrong. An address that only the API server can tell is printed as unresolved, and is no
// problem.
int check(const Command& command, const Environment& environment, std::ostream& out, std::ostream& errors);

}  // namespace lastlight::cli
