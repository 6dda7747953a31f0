#include "agent/process_stats.h"

#include <charconv>
#include <string>
#include <string_view>

#include <dirent.h>
#include <sys/resource.h>

#include "agent/io/small_file.h"

namespace lastlight {

namespace {

// "RssAnon:\t    3848 kB"
Bytes field(std::string_view status, std::string_view name) {
  const auto at = status.find(name);
  if (at == std::string_view::npos) return {};
  const auto digit = status.find_first_of("0123456789", at);
  if (digit == std::string_view::npos) return {};
  std::uint64_t value = 0;
  std::from_chars(status.data() + digit, status.data() + status.size(), value);
  return kib(value);
}

double cpu_seconds() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto total = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return total(usage.ru_utime) + total(usage.ru_stime);
}

std::size_t open_fds() {
  DIR* const folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return 0;
  std::size_t count = 0;
  while (const dirent* entry = ::readdir(folder))
    count += entry->d_name[0] != '.' ? 1 : 0;
  ::closedir(folder);
  return count - 1;  // the one it was read by
}

}  // namespace

metrics::Process read_process_stats(Duration up) {
  const std::string status = io::read_small_file("/proc/self/status").value_or("");
  return {.resident = field(status, "VmRSS:"),
          .anonymous = field(status, "RssAnon:"),
          .cpu_seconds = cpu_seconds(),
          .open_fds = open_fds(),
          .up = up};
}

}  // namespace lastlight
