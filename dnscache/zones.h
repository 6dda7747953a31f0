// From a name to its zone: the longest suffix wins. Owns the zones' names in wire form; never their upstreams.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/config.h"
#include "dnscache/wire.h"

namespace lastlight::dns {

class Zones {
 public:
  // Names that are no domain names never match; the configuration refuses them before they come here.
  explicit Zones(const std::vector<ZoneConfig>& zones);
  // `name`: lower-cased wire form. The index into the constructor's vector; of two equal names the first.
  std::optional<std::uint32_t> find(ByteView name) const;

 private:
  struct Zone {
    Name name;
    std::uint32_t index = 0;
  };
  std::vector<Zone> zones_;  // longest first: the first suffix found is the longest
};

}  // namespace lastlight::dns
