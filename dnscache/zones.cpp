#include "dnscache/zones.h"

#include <algorithm>
#include <functional>

namespace lastlight::dns {

namespace {

// Whether `suffix` begins at a label of `name`: comparing octets alone would take "x\009cluster..." for a child. Most
// names are told apart by the octets, and all are under the root.
bool is_under(ByteView name, ByteView suffix) {
  if (name.size() < suffix.size() || !std::ranges::equal(name.last(suffix.size()), suffix)) return false;
  if (suffix.size() == 1) return true;
  std::size_t at = 0;
  while (at < name.size() && name.size() - at > suffix.size())
    at += std::size_t{name[at]} + 1;
  return at + suffix.size() == name.size();
}

}  // namespace

Zones::Zones(const std::vector<ZoneConfig>& zones) {
  for (std::uint32_t i = 0; i < zones.size(); ++i) {
    if (const auto name = Name::parse(zones[i].name)) zones_.push_back({*name, i});
  }
  std::ranges::sort(zones_, std::greater<>(), [](const Zone& zone) { return zone.name.size; });
}

std::optional<std::uint32_t> Zones::find(ByteView name) const {
  for (const Zone& zone : zones_) {
    if (is_under(name, zone.name.view())) return zone.index;
  }
  return std::nullopt;
}

}  // namespace lastlight::dns
