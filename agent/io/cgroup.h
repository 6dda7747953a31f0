// What the control group of this process allows (cgroup v2, and v1's memory controller). Reads small files of the
// kernel's.
#pragma once

#include <optional>
#include <string>

#include "agent/base/bytes.h"

namespace lastlight::io {

// The least memory.max on the way from our group to the root; none: no limit, or none that can be read. Inside a
// container the group is usually the root of what can be seen. `root` stands before /proc and /sys, for tests.
std::optional<Bytes> memory_limit(const std::string& root = {});

}  // namespace lastlight::io
