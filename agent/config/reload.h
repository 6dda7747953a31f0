// What another configuration changes in a running agent. Pure: compares by the keys' table, so that no key is
// forgotten. A key marked `restart` stays as it is until the agent is started anew; the rest comes into force.
#pragma once

#include <string>
#include <vector>

#include "agent/config.h"

namespace lastlight {

struct Reload {
  Config config;                     // to be in force: the new one, but for its `restart` keys
  std::vector<std::string> changed;  // dotted keys that come into force
  std::vector<std::string> restart;  // those that do not
};

Reload plan_reload(const Config& running, const Config& next);

}  // namespace lastlight
