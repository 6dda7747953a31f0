// A Corefile of NodeLocal DNSCache, with its __PILLAR__ placeholders or what they became -> the DNS part of our
// configuration, and a remark for each thing that is not carried over as it was. Never fails: what it cannot express it
// says.
#pragma once

#include <vector>

#include "agent/config.h"
#include "agent/convert/corefile.h"
#include "agent/convert/remark.h"

namespace lastlight::convert {

void add_node_local(Config& config, const std::vector<ServerBlock>& blocks, Remarks& remarks);

}  // namespace lastlight::convert
