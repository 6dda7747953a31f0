// The supervisor's log: one line on the standard error, formatted in a fixed buffer (agent/base/log is the worker's).
#pragma once

namespace lastlight {

[[gnu::format(printf, 1, 2)]] void say(const char* format, ...);

}  // namespace lastlight
