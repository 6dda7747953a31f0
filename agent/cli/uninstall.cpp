#include "agent/cli/uninstall.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <ostream>
#include <set>
#include <sstream>

#include <ifaddrs.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "agent/base/json.h"
#include "agent/cli/usage.h"
#include "agent/io/file_descriptor.h"
#include "agent/supervisor/handover.h"
#include "dnscache/takeover/iptables_rules.h"
#include "dnscache/takeover/link.h"
#include "dnscache/takeover/nftables.h"
#include "dnscache/takeover/ruleset.h"

namespace lastlight::cli {

namespace {

using Result = std::expected<void, std::string>;
namespace files = std::filesystem;

constexpr const char* kLegacyCommands =
    "  for t in raw filter; do for i in iptables-legacy ip6tables-legacy; do\n"
    "    $i -t $t -S | grep 'NodeLocal DNS Cache:' | sed 's/^-A/-D/' | xargs -rL1 $i -t $t; done; done\n";

struct Wanted {
  bool node_local = false;
  bool force = false;
  bool json = false;
  std::string interface = "lastlight";
  std::vector<IpAddress> addresses;
};

std::expected<Wanted, std::string> parse(std::span<const std::string> words) {
  Wanted out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--node-local") {
      out.node_local = true;
    } else if (word == "--force") {
      out.force = true;
    } else if ((word == "--output" || word == "-o") && i + 1 < words.size()) {
      const std::string& value = words[++i];
      if (value != "text" && value != "json") return std::unexpected("--output takes text or json, not " + value);
      out.json = value == "json";
    } else if ((word == "--interface" || word == "--address") && i + 1 < words.size()) {
      const std::string& value = words[++i];
      const auto address = IpAddress::parse(value);
      if (word == "--interface") out.interface = value;
      if (word == "--address" && address) out.addresses.push_back(*address);
      if (word == "--address" && !address) return std::unexpected("not an IP address: " + value);
    } else {
      return std::unexpected("cannot use " + word);
    }
  }
  if (out.interface.empty() || out.interface == "lo") return std::unexpected("not a link of ours: " + out.interface);
  return out;
}

// Somebody accepts at one of its sockets.
bool agent_runs(const std::string& directory) {
  for (const auto& [name, type] :
       {std::pair{"/handover.sock", SOCK_SEQPACKET}, std::pair{"/control.sock", SOCK_STREAM}}) {
    const std::string path = directory + name;
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    if (path.size() >= sizeof address.sun_path) continue;
    std::memcpy(address.sun_path, path.c_str(), path.size());
    const io::FileDescriptor socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    if (socket && ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0)
      return true;
  }
  return false;
}

void collect_addresses(const Json& value, std::set<IpAddress>& out) {
  if (const auto address = IpAddress::parse(string_or_empty(&value))) out.insert(*address);
  for (const Json& each : value.is_array() ? array_or_empty(&value) : array_at(value, "set"))
    collect_addresses(each, out);
}

// Ours are those whose replies our own table does not track: the sources in its chain `output`.
std::set<IpAddress> addresses_of_table() {
  std::set<IpAddress> out;
  const auto listed = dns::list_nftables(std::string("list chain inet ") + dns::kTakeoverTable + " output");
  const auto json = listed ? parse_json(*listed) : std::expected<Json, std::string>(std::unexpected(""));
  if (!json) return out;
  for (const Json& entry : array_at(*json, "nftables")) {
    for (const Json& part : array_at(entry, "rule", "expr")) {
      if (string_at(part, "match", "left", "payload", "field") != "saddr") continue;
      if (const Json* right = find(part, "match", "right")) collect_addresses(*right, out);
    }
  }
  return out;
}

Result remove_ours(const Wanted& wanted, std::ostream& out) {
  std::set<IpAddress> ours = addresses_of_table();
  ours.insert(wanted.addresses.begin(), wanted.addresses.end());
  const std::vector<IpAddress> addresses(ours.begin(), ours.end());
  // The rules first: a query that is tracked before its address is gone goes kube-proxy's way.
  if (auto done = dns::run_nftables(dns::rules_removed()); !done) return done;
  out << "no rules: the table inet " << dns::kTakeoverTable << " is gone\n";
  const auto link = dns::remove_link(wanted.interface);
  if (!link) return std::unexpected(link.error());
  if (*link) {
    out << "no link: " << wanted.interface << " is gone\n";
  } else {
    if (auto done = dns::lower_link(wanted.interface, addresses); !done) return done;
    out << "no link " << wanted.interface;
    for (const IpAddress& each : addresses)
      out << ", no " << each.to_string() << " on lo";
    out << "\n";
  }
  return {};
}

// What we made there; a file that is none of ours stays, and so does the directory then.
void clear_directory(const std::string& path, std::ostream& out) {
  std::error_code error;
  for (const char* name : {"control.sock", "handover.sock", "drain.json"})
    files::remove(files::path(path) / name, error);
  for (const auto& each : files::directory_iterator(path, error)) {
    if (each.path().filename().string().starts_with("generation")) files::remove_all(each.path(), error);
  }
  if (!files::exists(path, error) || files::remove(path, error)) {
    out << "no run directory: " << path << " is gone\n";
  } else {
    out << path << " stays: " << error.message() << "\n";
  }
}

std::vector<IpAddress> addresses_on(const char* link) {
  std::vector<IpAddress> out;
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return out;
  for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || std::strcmp(each->ifa_name, link) != 0) continue;
    if (const auto endpoint = Endpoint::from_sockaddr(each->ifa_addr)) out.push_back(endpoint->address);
  }
  ::freeifaddrs(all);
  return out;
}

bool served(const IpAddress& address) {
  sockaddr_storage where;
  const socklen_t size = Endpoint{address, 53}.to_sockaddr(where);
  const io::FileDescriptor socket(::socket(where.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  return socket && ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&where), size) != 0 && errno == EADDRINUSE;
}

Result remove_node_local(const Wanted& wanted, std::ostream& out) {
  const auto addresses = addresses_on(dns::kNodeLocalLink);
  if (!wanted.force && std::ranges::any_of(addresses, served))
    return std::unexpected(std::string("NodeLocal DNSCache still serves on ") + dns::kNodeLocalLink +
                           ": delete its DaemonSet first, or --force");
  const auto rules = dns::commented_rules(dns::kNodeLocalComment);
  if (!rules) return std::unexpected(rules.error());
  std::string commands;
  for (const dns::CommentedRule& rule : *rules) {
    commands += "delete rule " + rule.family + " " + rule.table + " " + rule.chain + " handle " +
                std::to_string(rule.handle) + "\n";
  }
  if (!commands.empty()) {
    if (auto done = dns::run_nftables(commands); !done) return done;
  }
  out << "NodeLocal DNSCache: " << rules->size() << " rules removed";
  const auto link = dns::remove_link(dns::kNodeLocalLink);
  if (!link) return std::unexpected(link.error());
  out << (*link ? ", and the link " : ", no link ") << dns::kNodeLocalLink << "\n";
  const auto legacy = dns::legacy_tables();
  if (std::ranges::find(legacy, "raw") != legacy.end() || std::ranges::find(legacy, "filter") != legacy.end()) {
    out << "this node also uses the legacy iptables, whose rules are not read here; NodeLocal's would go by:\n"
        << kLegacyCommands;
  }
  return {};
}

// Each line of what was done goes to `out`.
Result carry_out(const Wanted& wanted, std::ostream& out) {
  const std::string directory = handover::directory_path();
  if (wanted.node_local) return remove_node_local(wanted, out);
  if (!wanted.force && agent_runs(directory)) {
    return std::unexpected(
        "an agent runs on this node and would put everything back: delete its DaemonSet, or take the node out of it, "
        "first (--force: all the same)");
  }
  Result done = remove_ours(wanted, out);
  if (done) clear_directory(directory, out);
  return done;
}

// {"done": true or false, "lines": [...], "problem": ""}
std::string json_of(const Result& done, std::istream& said) {
  Json lines = Json::array();
  for (std::string line; std::getline(said, line);)
    lines.push_back(line);
  return dump_json({{"done", done.has_value()}, {"lines", std::move(lines)}, {"problem", done ? "" : done.error()}});
}

}  // namespace

int uninstall(std::span<const std::string> words, std::ostream& out, std::ostream& errors) {
  if (std::ranges::find(words, "--help") != words.end()) {
    out << kUninstallUsage;
    return 0;
  }
  const auto wanted = parse(words);
  if (!wanted) {
    errors << "lastlight uninstall: " << wanted.error() << "\n" << kUninstallUsage;
    return 2;
  }
  std::stringstream said;
  const Result done = carry_out(*wanted, wanted->json ? said : out);
  if (wanted->json) out << json_of(done, said) << "\n";
  if (done) return 0;
  errors << "lastlight uninstall: " << done.error() << "\n";
  return 1;
}

}  // namespace lastlight::cli
