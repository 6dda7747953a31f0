// How many questions of each client wait for an upstream, and whether one more may. Pure counting: it keeps one pod's
// flood from taking what the node's other pods need. A client is an address; the pods of the host's network are one.
//
// Two bounds: `per_client`, always; and, once less than a quarter of `places` is free, nobody may hold more than is
// still free, so that n floods at once leave a share of the whole to everybody else. The table holds an address only
// while something of it waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>

#include "agent/base/address.h"
#include "dnscache/hash.h"

namespace lastlight::dns {

class Admission {
 public:
  Admission(std::uint32_t per_client, std::uint32_t places, std::uint64_t hash_seed)
      : per_client_(per_client), places_(places), waiting_(16, Hash{hash_seed}) {}

  // A client and how much of it waits; where it is until the last leaves.
  using Place = std::pair<const IpAddress, std::uint32_t>;
  // One more, for a client that joins a question in flight, and for one that takes another of the places, `taken` of
  // which are. Null: it may not.
  Place* join(const IpAddress& client);
  Place* take(const IpAddress& client, std::size_t taken);
  void leave(Place& place);
  void set_bounds(std::uint32_t per_client, std::uint32_t places);

 private:
  struct Hash {
    std::uint64_t seed;
    std::size_t operator()(const IpAddress& address) const { return hash_octets(address.octets(), seed); }
  };

  Place* admit(const IpAddress& client, std::size_t most);

  std::uint32_t per_client_;
  std::uint32_t places_;
  std::unordered_map<IpAddress, std::uint32_t, Hash> waiting_;
};

}  // namespace lastlight::dns
