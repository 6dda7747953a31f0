#include "agent/on_this_node.h"

#include "agent/io/driver_statistics.h"
#include "agent/io/small_file.h"

namespace lastlight {

std::vector<IpAddress> addresses_on_node(const std::optional<IpAddress>& node, const interrupt::Drain& drain) {
  std::vector<IpAddress> out;
  if (node) out.push_back(*node);
  for (const auto& [uid, record] : drain.pods()) {
    for (const std::string& text : record.pod.addresses) {
      if (const auto address = IpAddress::parse(text)) out.push_back(*address);
    }
  }
  return out;
}

std::uint64_t linklocal_exceeded() {
  const std::string interface = io::default_interface(io::read_small_file("/proc/net/route").value_or(""));
  return io::driver_statistic(interface, "linklocal_allowance_exceeded").value_or(0);
}

}  // namespace lastlight
