// CONFIGURATION.md, printed from the tables of agent/config/keys.h: every key, what it takes, its default, whether a
// change needs a restart, and what it is for; then what the environment and flags set. `lastlight check --reference`
// prints it and a test compares, so that page and program cannot differ.
#pragma once

#include <string>

namespace lastlight {

std::string config_reference();  // Markdown

}  // namespace lastlight
