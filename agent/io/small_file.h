// A small local file read whole: a token, resolv.conf. Blocking, so only for files of kilobytes on tmpfs or the node's
// disk.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace lastlight::io {

// None if it cannot be opened or is longer than `limit`.
std::optional<std::string> read_small_file(const std::string& path, std::size_t limit = 64U << 10);

// The same without white space at its end; empty if it cannot be read. For secrets that the kubelet mounts and rotates.
std::string read_secret(const std::string& path);

// Whole or not at all (a rename); the file's own folder is made. An empty text removes the file. False if it cannot.
bool write_small_file(const std::string& path, const std::string& text);

}  // namespace lastlight::io
