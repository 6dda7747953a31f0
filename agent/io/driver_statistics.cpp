#include "agent/io/driver_statistics.h"

#include <cstring>
#include <sstream>
#include <vector>

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "agent/io/file_descriptor.h"

namespace lastlight::io {

namespace {

constexpr std::uint32_t kMostStatistics = 8192;

bool ask(int socket, const std::string& interface, void* command) {
  ifreq request{};
  interface.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_data = static_cast<char*>(command);
  return ::ioctl(socket, SIOCETHTOOL, &request) == 0;
}

// A structure of ethtool with `tail` octets behind it.
template <typename Head>
std::vector<std::uint64_t> with_tail(const Head& head, std::size_t tail) {
  std::vector<std::uint64_t> out((sizeof head + tail + 7) / 8);
  std::memcpy(out.data(), &head, sizeof head);
  return out;
}

std::uint32_t count_of(int socket, const std::string& interface) {
  ethtool_sset_info head{};
  head.cmd = ETHTOOL_GSSET_INFO;
  head.sset_mask = 1ULL << ETH_SS_STATS;
  auto info = with_tail(head, sizeof(std::uint32_t));
  if (!ask(socket, interface, info.data())) return 0;
  std::memcpy(&head, info.data(), sizeof head);
  std::uint32_t count = 0;
  if (head.sset_mask != 0) std::memcpy(&count, info.data() + sizeof head / 8, sizeof count);
  return count > kMostStatistics ? 0 : count;
}

}  // namespace

std::string default_interface(std::string_view routes) {
  std::istringstream lines{std::string(routes)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string interface, destination;
    if (words >> interface >> destination && destination == "00000000") return interface;
  }
  return {};
}

std::optional<std::uint64_t> driver_statistic(const std::string& interface, std::string_view name) {
  const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const std::uint32_t count = socket ? count_of(socket.get(), interface) : 0;
  if (count == 0 || name.size() > ETH_GSTRING_LEN) return std::nullopt;
  ethtool_gstrings strings{};
  strings.cmd = ETHTOOL_GSTRINGS;
  strings.string_set = ETH_SS_STATS;
  strings.len = count;
  auto names = with_tail(strings, std::size_t{count} * ETH_GSTRING_LEN);
  ethtool_stats stats{};
  stats.cmd = ETHTOOL_GSTATS;
  stats.n_stats = count;
  auto values = with_tail(stats, std::size_t{count} * sizeof(std::uint64_t));
  if (!ask(socket.get(), interface, names.data()) || !ask(socket.get(), interface, values.data())) return std::nullopt;
  const char* each = reinterpret_cast<const char*>(names.data()) + sizeof strings;
  for (std::uint32_t i = 0; i < count; ++i, each += ETH_GSTRING_LEN) {
    if (std::string_view(each, ::strnlen(each, ETH_GSTRING_LEN)) != name) continue;
    std::uint64_t value = 0;
    std::memcpy(&value, reinterpret_cast<const char*>(values.data()) + sizeof stats + i * sizeof value, sizeof value);
    return value;
  }
  return std::nullopt;
}

}  // namespace lastlight::io
