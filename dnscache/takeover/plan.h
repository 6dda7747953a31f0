// What is taken over on this node, as values: the arguments of the privileged child, and what the rule set is made of.
// No I/O.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/time.h"

namespace lastlight::dns {

// What the privileged child does about a plan.
constexpr bool is_verb(std::string_view word) {
  return word == "up" || word == "repair" || word == "release" || word == "down";
}

// Where the empty datagrams that renew the lease go: discard (RFC 863).
inline constexpr std::uint16_t kRenewPort = 9;

// An address kube-proxy does not know (NodeLocal's 169.254.20.10, say). Pods hold it for life, so it must lead
// somewhere when we are gone: to the ClusterIP of a Service with kube-dns's selector.
struct LinkLocal {
  IpAddress address;
  IpAddress fallback;  // of the same family
  bool operator==(const LinkLocal&) const = default;
};

struct TakeoverPlan {
  static constexpr std::size_t kMaxAddresses = 16;

  std::string interface = "lastlight";
  std::uint16_t port = 53;
  Duration lease = std::chrono::milliseconds(1500);
  std::vector<IpAddress> cluster_ips;  // kube-proxy's: without a lease, queries go its way
  std::vector<LinkLocal> link_locals;

  std::vector<IpAddress> addresses() const;  // all that the link carries
  bool empty() const { return cluster_ips.empty() && link_locals.empty(); }
  bool operator==(const TakeoverPlan&) const = default;
};

// The plan as words for `lastlight-takeover`, and back.
//   --interface lastlight --port 53 --lease-ms 1500 --cluster-ip 10.96.0.10 --link-local 169.254.20.10=10.96.0.11
std::vector<std::string> to_arguments(const TakeoverPlan& plan);
std::expected<TakeoverPlan, std::string> parse_arguments(std::span<const std::string> words);

}  // namespace lastlight::dns
