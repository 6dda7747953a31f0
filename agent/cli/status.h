// `lastlight status`: what the running agent does, a drain's timeline foremost, over its control socket (the document
// is metrics/status.h's). With --ready or --alive it asks the agent's HTTP port instead: what a Kubernetes exec probe
// runs.
#pragma once

#include <iosfwd>
#include <string>

#include "agent/base/json.h"
#include "agent/cli/options.h"

namespace lastlight::cli {

// 0 if the agent answers (a probe: 200); 1 otherwise, with the reason on `errors`. Waits two seconds at most; followed,
// it goes on until the agent answers no more.
int status(const Command& command, std::ostream& out, std::ostream& errors);

// For people.
std::string status_text(const Json& document);

}  // namespace lastlight::cli
