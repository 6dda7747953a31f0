// The door: `run` is supervised from here, so that the parent holds no library's memory; the rest becomes another
// program.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>

#include <unistd.h>

#include "agent/supervisor/programs.h"
#include "agent/supervisor/supervisor.h"

namespace {

// Returns only when it cannot be started.
int become(const char* name, char** arguments) {
  const std::string path = lastlight::program_beside(name);
  ::execv(path.c_str(), arguments);
  std::fprintf(stderr, "lastlight: cannot run %s: %s\n", path.c_str(), std::strerror(errno));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string_view command = argc > 1 ? argv[1] : "";
    if (command == "run") return lastlight::supervise(argv);
    if (command == "takeover") return become("takeover", argv + 1);
    if (command == "uninstall") return become("takeover", argv);
    return become("agent", argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lastlight: %s\n", error.what());
    return 1;
  }
}
