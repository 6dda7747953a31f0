// The node's resolv.conf(5), as far as a forwarder needs it: which servers. Pure: it is given the text. Search domains
// are the clients' affair and are not read. Like libc, at most three nameservers; a scope id (fe80::1%eth0) is refused,
// since it names an interface of a network namespace that need not be ours.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/address.h"

namespace lastlight::dns {

inline constexpr std::string_view kSystemdResolvedUpstreams = "/run/systemd/resolve/resolv.conf";

struct ResolvConf {
  std::vector<IpAddress> nameservers;
  std::vector<std::string>
      options;  // as written, for the log: timeout:N, attempts:N, rotate, ... do not apply to a forwarder
  std::vector<std::string> problems;  // what was not understood, for the log
};

ResolvConf parse_resolv_conf(std::string_view text);

// Nothing but loopback stubs (127.0.0.53 and .54 of systemd-resolved): the real servers are then in
// kSystemdResolvedUpstreams.
bool is_stub(const ResolvConf& conf);

// Which of the two to follow: the configured file, unless it is a stub and the other names real servers.
const ResolvConf& choose_resolv_conf(const ResolvConf& configured, const std::optional<ResolvConf>& systemd);

}  // namespace lastlight::dns
