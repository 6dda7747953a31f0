#include "agent/supervisor/programs.h"

#include <array>

#include <unistd.h>

namespace lastlight {

std::string program_beside(const char* name) {
  std::array<char, 4096> path;
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  return std::string(path.data(), size > 0 ? static_cast<std::size_t>(size) : 0) + "-" + name;
}

}  // namespace lastlight
