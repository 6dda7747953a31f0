// A text as a file in sealed memory (agent/io/sealed_memory), read from its start: for another process, by SCM_RIGHTS.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "agent/io/file_descriptor.h"

namespace lastlight::io {

// `name` shows in /proc alone. On failure why not.
std::expected<FileDescriptor, std::string> memory_file(const char* name, std::string_view text);

}  // namespace lastlight::io
