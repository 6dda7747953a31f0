// What `lastlight check --output json` prints, each one line:
//   {"valid": false, "problems": [{"file", "line", "key", "message"}]}
//   {"valid": true or false, "problems": [{"message"}], "config": {...}, "memory": [...],
//    "addresses": [{"key", "written", "endpoints": [...], "remark"}]}
#pragma once

#include <span>
#include <string>
#include <vector>

#include "agent/base/json.h"
#include "agent/config/file.h"

namespace lastlight::cli {

// What run would make of an address.
struct Meaning {
  std::vector<Endpoint> endpoints;
  std::string remark;  // who said so, or why nobody could
};

// An address of the configuration, where it stands there.
struct Use {
  std::string key;
  const AddressSpec* spec;
  Meaning meaning;
};

// An array of {file, line, key, message}.
Json problems_of(std::span<const ConfigError> errors);
std::string problems_json(std::span<const ConfigError> errors);
std::string checked_json(const Config& config, std::span<const Use> uses, std::span<const std::string> memory,
                         std::span<const std::string> problems);

}  // namespace lastlight::cli
