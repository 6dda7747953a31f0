// `lastlight doctor`: does the node's DNS come here, with and without the lease, and what stands in its way? Prints
// what was found and what to do about each; judges nothing itself (agent/doctor/findings.h).
#pragma once

#include <iosfwd>

#include "agent/cli/options.h"

namespace lastlight::cli {

// 0: all is fine. 1: something is wrong. 2: a file that was named cannot be read.
int doctor(const DoctorCommand& command, std::ostream& out, std::ostream& errors);

}  // namespace lastlight::cli
