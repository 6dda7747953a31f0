#include "dnscache/takeover/iptables_rules.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <memory>

#include <endian.h>
// clang-format off: linux's headers give way to the C library's, if those come first
#include <netinet/in.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
// clang-format on
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

namespace lastlight::dns {

namespace {

using Socket = std::unique_ptr<nl_sock, decltype(&nl_socket_free)>;
using Message = std::unique_ptr<nl_msg, decltype(&nlmsg_free)>;

struct Place {
  std::uint8_t family;
  const char* family_name;
  const char* table;
  const char* chain;
};

std::string_view text_of(nlattr* attribute) {
  const auto* begin = static_cast<const char*>(nla_data(attribute));
  return {begin, strnlen(begin, static_cast<std::size_t>(nla_len(attribute)))};
}

std::string comment_in(nlattr* expressions) {
  nlattr* expression = nullptr;
  int left = 0;
  nla_for_each_nested(expression, expressions, left) {
    std::array<nlattr*, NFTA_EXPR_MAX + 1> parts{};
    if (nla_parse_nested(parts.data(), NFTA_EXPR_MAX, expression, nullptr) < 0) continue;
    if (parts[NFTA_EXPR_NAME] == nullptr || parts[NFTA_EXPR_DATA] == nullptr) continue;
    if (text_of(parts[NFTA_EXPR_NAME]) != "match") continue;
    std::array<nlattr*, NFTA_MATCH_MAX + 1> match{};
    if (nla_parse_nested(match.data(), NFTA_MATCH_MAX, parts[NFTA_EXPR_DATA], nullptr) < 0) continue;
    if (match[NFTA_MATCH_NAME] == nullptr || match[NFTA_MATCH_INFO] == nullptr) continue;
    if (text_of(match[NFTA_MATCH_NAME]) == "comment") return std::string(text_of(match[NFTA_MATCH_INFO]));
  }
  return {};
}

// nft's own way to keep a comment, which later versions of iptables take: type 0, a length, text with its zero.
std::string comment_in_user_data(nlattr* data) {
  const auto* octets = static_cast<const unsigned char*>(nla_data(data));
  const auto size = static_cast<std::size_t>(nla_len(data));
  if (size < 2 || octets[0] != 0 || octets[1] > size - 2) return {};
  const auto* begin = static_cast<const char*>(nla_data(data)) + 2;
  return {begin, strnlen(begin, octets[1])};
}

struct Reading {
  Place place;
  std::string_view prefix;
  std::vector<CommentedRule>& found;
};

int on_rule(nl_msg* message, void* argument) noexcept {
  auto& reading = *static_cast<Reading*>(argument);
  std::array<nlattr*, NFTA_RULE_MAX + 1> parts{};
  if (nlmsg_parse(nlmsg_hdr(message), sizeof(nfgenmsg), parts.data(), NFTA_RULE_MAX, nullptr) < 0) return NL_OK;
  if (parts[NFTA_RULE_HANDLE] == nullptr || parts[NFTA_RULE_TABLE] == nullptr || parts[NFTA_RULE_CHAIN] == nullptr)
    return NL_OK;
  // A kernel that does not filter dumps gives us all of them.
  if (text_of(parts[NFTA_RULE_TABLE]) != reading.place.table || text_of(parts[NFTA_RULE_CHAIN]) != reading.place.chain)
    return NL_OK;
  std::string comment;
  if (parts[NFTA_RULE_EXPRESSIONS] != nullptr) comment = comment_in(parts[NFTA_RULE_EXPRESSIONS]);
  if (comment.empty() && parts[NFTA_RULE_USERDATA] != nullptr)
    comment = comment_in_user_data(parts[NFTA_RULE_USERDATA]);
  if (!comment.starts_with(reading.prefix)) return NL_OK;
  reading.found.push_back({.family = reading.place.family_name,
                           .table = reading.place.table,
                           .chain = reading.place.chain,
                           .handle = be64toh(nla_get_u64(parts[NFTA_RULE_HANDLE])),
                           .comment = std::move(comment)});
  return NL_OK;
}

int read_chain(nl_sock* socket, Reading& reading) {
  const Message message(nlmsg_alloc_simple((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETRULE, NLM_F_DUMP), &nlmsg_free);
  nfgenmsg header{.nfgen_family = reading.place.family, .version = NFNETLINK_V0, .res_id = 0};
  if (!message || nlmsg_append(message.get(), &header, sizeof header, NLMSG_ALIGNTO) < 0 ||
      nla_put_string(message.get(), NFTA_RULE_TABLE, reading.place.table) < 0 ||
      nla_put_string(message.get(), NFTA_RULE_CHAIN, reading.place.chain) < 0)
    return -NLE_NOMEM;
  if (const int code = nl_send_auto(socket, message.get()); code < 0) return code;
  nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_rule, &reading);
  return nl_recvmsgs_default(socket);
}

}  // namespace

std::expected<std::vector<CommentedRule>, std::string> commented_rules(std::string_view comment_prefix) {
  constexpr std::array<std::pair<const char*, const char*>, 4> kChains = {
      {{"raw", "PREROUTING"}, {"raw", "OUTPUT"}, {"filter", "INPUT"}, {"filter", "OUTPUT"}}};
  const Socket socket(nl_socket_alloc(), &nl_socket_free);
  if (!socket) return std::unexpected("netlink: out of memory");
  if (const int code = nl_connect(socket.get(), NETLINK_NETFILTER); code < 0)
    return std::unexpected(std::string("netlink: ") + nl_geterror(code));
  std::vector<CommentedRule> found;
  for (const auto& [family, name] : {std::pair{NFPROTO_IPV4, "ip"}, std::pair{NFPROTO_IPV6, "ip6"}}) {
    for (const auto& [table, chain] : kChains) {
      Reading reading{
          .place = {static_cast<std::uint8_t>(family), name, table, chain}, .prefix = comment_prefix, .found = found};
      const int code = read_chain(socket.get(), reading);
      if (code < 0 && code != -NLE_OBJ_NOTFOUND)
        return std::unexpected(std::string("cannot read the rules of iptables: ") + nl_geterror(code));
    }
  }
  return found;
}

std::vector<std::string> legacy_tables() {
  std::vector<std::string> names;
  for (const char* path : {"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"}) {
    std::ifstream file(path);
    for (std::string name; std::getline(file, name);) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

}  // namespace lastlight::dns
