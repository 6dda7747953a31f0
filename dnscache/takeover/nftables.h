// Carries out nftables text in one transaction: all of it or nothing. The only door to libnftables, which reads the
// whole rule set of the node first (26 MiB and seconds on a large one): so it is opened by a short-lived child only.
#pragma once

#include <expected>
#include <string>

namespace lastlight::dns {

// On failure what the library said, in one line.
std::expected<void, std::string> run_nftables(const std::string& commands);
// The same for a `list` command: what it prints, as JSON (libnftables-json(5)).
std::expected<std::string, std::string> list_nftables(const std::string& command);

}  // namespace lastlight::dns
