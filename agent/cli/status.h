// `lastlight status`: what the running agent does, a drain's timeline foremost, over its control socket (the document
// is metrics/status.h's). With --ready or --alive it asks the agent's HTTP port instead: what a Kubernetes exec probe
// runs.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "agent/base/json.h"
#include "agent/cli/options.h"

namespace lastlight::cli {

// 0 if the agent answers (a probe: 200); 1 otherwise, with the reason on `errors`. Waits two seconds at most for each
// address; followed, it goes on until the agent answers no more.
int status(const Command& command, std::ostream& out, std::ostream& errors);

// Whom a probe asks, in this order, until one answers: `given`, or what http.listen is by its default, which is the
// node's address or all of them.
std::vector<std::string> probe_urls(const std::string& given, const char* node_ip);

// For people.
std::string status_text(const Json& document);

}  // namespace lastlight::cli
