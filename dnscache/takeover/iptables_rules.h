// Rules that iptables made in its nftables form, by their comments. libnftables shows such a rule without its comment,
// which is a match of xtables' own (xt_comment), so they are read from the kernel as it has them (nf_tables netlink).
// Rules of the legacy iptables are not there. Reads only.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace lastlight::dns {

struct CommentedRule {
  std::string family;  // ip or ip6
  std::string table, chain;
  std::uint64_t handle = 0;
  std::string comment;
};

// NodeLocal DNSCache's comments begin so (raw: "skip conntrack", filter: "allow DNS traffic").
inline constexpr std::string_view kNodeLocalComment = "NodeLocal DNS Cache:";
inline constexpr const char* kNodeLocalLink = "nodelocaldns";  // its default

// Of the built-in chains that NodeLocal writes to: PREROUTING and OUTPUT of raw, INPUT and OUTPUT of filter.
std::expected<std::vector<CommentedRule>, std::string> commented_rules(std::string_view comment_prefix);

// Of the kernel's legacy iptables, as /proc has them: in use, and unseen by everything above.
std::vector<std::string> legacy_tables();

}  // namespace lastlight::dns
