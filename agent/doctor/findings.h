// From what was looked at to what it means and what to do about it. Pure: every judgement of `lastlight doctor` is
// here.
#pragma once

#include <string>
#include <vector>

#include "agent/doctor/facts.h"

namespace lastlight::doctor {

enum class Severity {
  Fine,
  Note,     // to be known; nothing is wrong
  Problem,  // something does not work, or will not
};

struct Finding {
  Severity severity = Severity::Fine;
  std::string what;
  std::string to_do;  // empty: nothing
  bool operator==(const Finding&) const = default;
};

std::vector<Finding> findings(const Facts& facts);

// NetworkPolicies whose egress would keep pods from a DNS server at an address that is no pod's.
std::vector<Finding> policy_findings(const Json& list, const std::vector<IpAddress>& addresses, std::uint16_t port);
// Host chains that drop what comes from pods or what we answer.
std::vector<Finding> chain_findings(const Facts& facts);

bool any_problem(const std::vector<Finding>& found);
const char* name(Severity severity);

}  // namespace lastlight::doctor
