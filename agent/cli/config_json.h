// A configuration as JSON, its keys nested as in the file; numbers and flags as such, durations, sizes and the rest in
// the file's words. It is a configuration file as well, since JSON is YAML.
#pragma once

#include "agent/base/json.h"
#include "agent/config.h"

namespace lastlight::cli {

Json config_json(const Config& config);
// What differs from the defaults, as changed_yaml() has it.
Json changed_json(const Config& config);

}  // namespace lastlight::cli
