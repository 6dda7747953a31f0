// How many questions of each client wait for an upstream, and whether one more may. Pure counting: it keeps one pod's
// flood from taking what the node's other pods need. A client is an address; the pods of the host's network are one.
//
// Two bounds: `per_client`, always; and, once less than a quarter of `places` is free, nobody may hold more than is
// still free, so that n floods at once leave a share of the whole to everybody else. The table holds an address only
// while something of it waits.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "agent/base/address.h"
#include "dnscache/hash.h"

namespace lastlight::dns {

class Admission {
 public:
  Admission(std::uint32_t per_client, std::uint32_t places, std::uint64_t hash_seed)
      : per_client_(per_client), places_(places), waiting_(16, Hash{hash_seed}) {}

  // For a client that joins a question in flight, and for one that takes another of the places, `taken` of which are.
  bool may_join(const IpAddress& client) const { return held(client) < per_client_; }
  bool may_take(const IpAddress& client, std::size_t taken) const;

  void waits(const IpAddress& client) { ++waiting_[client]; }
  void leaves(const IpAddress& client);
  std::uint32_t held(const IpAddress& client) const;
  std::size_t clients() const { return waiting_.size(); }
  void set_bounds(std::uint32_t per_client, std::uint32_t places);

 private:
  struct Hash {
    std::uint64_t seed;
    std::size_t operator()(const IpAddress& address) const { return hash_octets(address.octets(), seed); }
  };

  std::uint32_t per_client_;
  std::uint32_t places_;
  std::unordered_map<IpAddress, std::uint32_t, Hash> waiting_;
};

}  // namespace lastlight::dns
