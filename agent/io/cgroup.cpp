#include "agent/io/cgroup.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "agent/io/small_file.h"

namespace lastlight::io {

namespace {

// None for "max", and for v1's word for it: nearly all of 63 bits.
std::optional<Bytes> read_limit(const std::string& path) {
  const std::string text = read_small_file(path, 64).value_or("");
  std::uint64_t bytes = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (parsed.ec != std::errc{} || bytes >= std::uint64_t{1} << 60) return std::nullopt;
  return Bytes{bytes};
}

// Of one hierarchy: from the group up to its mount.
std::optional<Bytes> least(const std::string& mount, std::string group, const char* file) {
  std::optional<Bytes> out;
  for (;;) {
    if (const auto here = read_limit(mount + group + '/' + file)) out = std::min(out.value_or(*here), *here);
    const std::size_t slash = group.find_last_of('/');
    if (slash == std::string::npos) return out;
    group.resize(slash);
  }
}

}  // namespace

std::optional<Bytes> memory_limit(const std::string& root) {
  const std::string groups = read_small_file(root + "/proc/self/cgroup").value_or("");
  std::string_view rest = groups;
  std::optional<Bytes> out;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    // N:CONTROLLERS:/GROUP; of v2 there is one, without controllers.
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    const std::string group(line.substr(second + 1));
    std::optional<Bytes> here;
    if (controllers.empty()) here = least(root + "/sys/fs/cgroup", group, "memory.max");
    if (controllers == "memory") here = least(root + "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
    if (here) out = std::min(out.value_or(*here), *here);
  }
  return out;
}

}  // namespace lastlight::io
