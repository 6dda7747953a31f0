// `lastlight check`: the effective configuration, what its service: and node addresses mean on this node, and every
// problem. Reads the file and the environment given, and asks the API server for Services; serves nothing.
#pragma once

#include <expected>
#include <functional>
#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include "agent/cli/options.h"

namespace lastlight::cli {

// The file, this environment, then the command line's flags.
ConfigResult read_config(const Command& command, const Environment& environment);

// A Service's cluster IPs as the API server has them, or why they are not known.
using AskService =
    std::function<std::expected<std::vector<IpAddress>, std::string>(const Config& config, const std::string& service)>;

// 0, or 1 if anything is wrong. An address that nobody can tell here is printed as unresolved, and is no problem: the
// node it is for may know it. `memory_limit`: what the cgroup allows here.
int check(const Command& command, const Environment& environment, const AskService& ask_service,
          std::optional<Bytes> memory_limit, std::ostream& out, std::ostream& errors);

}  // namespace lastlight::cli
