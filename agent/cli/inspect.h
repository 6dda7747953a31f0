// `lastlight takeover inspect`: what `lastlight doctor` needs to know of the node's packet filter, which this child
// alone can read, as one JSON document. Changes nothing that lasts: what the kernel can do is tried in tables and a
// link that are made and removed.
//   {"error": why or "",
//    "tables": [{"family": "ip", "name": "kube-proxy"}],
//    "chains": [{"family", "table", "name", "hook", "prio", "policy", "rules": [{"comment", "expr": libnftables'
//    own}]}], "features": {"socket": true, ...}, "nodeLocal": [{"family", "table", "chain", "comment"}], "legacy":
//    ["filter"]}
// The chains are those at prerouting, input and output of the families ip, ip6 and inet, and what they jump to;
// kube-proxy's and our own are left out.
#pragma once

#include "agent/base/json.h"

namespace lastlight::cli {

Json inspect();

}  // namespace lastlight::cli
