// `lastlight takeover up|repair|release|down` and `lastlight uninstall`: the only code that changes the node's network;
// `inspect` and `exempt` are for `lastlight doctor`. A short-lived process of its own (`lastlight-takeover`, beside the
// agent), so that what it links and allocates is never resident.
#pragma once

#include <iosfwd>
#include <span>
#include <string>

namespace lastlight::cli {

// `words` are the verb and, of those that change the network, the plan (dnscache/takeover/plan.h). 0 when done, 1 with
// the reason on `errors`, 2 when the words are wrong.
int takeover(std::span<const std::string> words, std::ostream& out, std::ostream& errors);

}  // namespace lastlight::cli
