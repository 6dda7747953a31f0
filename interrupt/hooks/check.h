// What is wrong with the hooks of a configuration, beyond what each key tells by itself: templates, names, pairs of
// keys. Pure; `lastlight check` and the start of the agent ask.
#pragma once

#include <functional>
#include <string>

#include "agent/config.h"

namespace lastlight::interrupt {

inline constexpr std::size_t kMaxReceivers = 16;  // webhooks and commands together

void check_hooks(const HooksConfig& hooks,
                 const std::function<void(const std::string& key, const std::string& message)>& problem);

}  // namespace lastlight::interrupt
