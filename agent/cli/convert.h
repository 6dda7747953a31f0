// `lastlight convert`: prints the configuration that replaces a NodeLocal DNSCache, a termination handler or both, and,
// as comments above it, what could not be carried over and why. Reads the files it is given and nothing else. With
// --output json one line:
//   {"valid", "problems": [{"file", "line", "key", "message"}], "config": {...},
//    "notCarriedOver": [{"file", "line", "what", "why"}], "toKnow": [the same]}
#pragma once

#include <iosfwd>

#include "agent/cli/options.h"

namespace lastlight::cli {

// 0: printed, and `lastlight check` accepts it; 1: an input cannot be read, or what it asks for cannot be had.
int convert(const Command& command, std::ostream& out, std::ostream& errors);

}  // namespace lastlight::cli
