#include "agent/cli/takeover.h"

#include <ostream>

#include "agent/cli/exempt.h"
#include "agent/cli/inspect.h"
#include "agent/cli/uninstall.h"
#include "agent/cli/usage.h"
#include "dnscache/takeover/link.h"
#include "dnscache/takeover/nftables.h"
#include "dnscache/takeover/ruleset.h"

namespace lastlight::cli {

namespace {

using Result = std::expected<void, std::string>;

// The addresses first: rules without them would do nothing, they without rules leave kube-proxy in charge. Nothing is
// intercepted before a socket of ours renews the lease.
Result up(const dns::TakeoverPlan& plan, std::ostream& out) {
  const auto link = dns::raise_link(plan.interface, plan.addresses());
  if (!link) return std::unexpected(link.error());
  out << "link " << *link << "\n";
  auto rules = dns::run_nftables(rules_up(plan));
  if (rules) return rules;
  // A set or chain of an earlier version that differs cannot be added over; its lease is lost, and renewed at once.
  return dns::run_nftables(dns::rules_removed() + rules_up(plan));
}

// The rules first: a query tracked before its address is gone goes kube-proxy's way.
Result down(const dns::TakeoverPlan& plan) {
  if (auto rules = dns::run_nftables(rules_down(plan)); !rules) return rules;
  return dns::lower_link(plan.interface, plan.cluster_ips);
}

int ended(const std::string& verb, const Result& done, std::ostream& errors) {
  if (done) return 0;
  errors << "lastlight takeover " << verb << ": " << done.error() << "\n";
  return 1;
}

}  // namespace

int takeover(std::span<const std::string> words, std::ostream& out, std::ostream& errors) {
  const std::string verb = words.empty() ? "" : words.front();
  if (verb == "uninstall") return uninstall(words.subspan(1), out, errors);
  if (verb == "inspect") {
    out << dump_json(inspect()) << "\n";
    return 0;
  }
  if (verb == "exempt") return ended(verb, exempt(words.subspan(1)), errors);
  if (verb == "--help") {
    out << kTakeoverUsage;
    return 0;
  }
  if (!dns::is_verb(verb)) {
    errors << kTakeoverUsage;
    return 2;
  }
  const auto plan = dns::parse_arguments(words.subspan(1));
  if (!plan) {
    errors << "lastlight takeover: " << plan.error() << "\n";
    return 2;
  }
  const Result done = verb == "release" ? dns::run_nftables(dns::rules_released())
                      : verb == "down"  ? down(*plan)
                                        : up(*plan, out);
  return ended(verb, done, errors);
}

}  // namespace lastlight::cli
