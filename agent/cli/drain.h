// `lastlight drain`: tries a drain of this node. --simulate KIND alone is a dry run: the node, its pods and the budgets
// are read, and mark, evictions and deletions that a drain would send are sent with `dryRun=All`, so that permissions
// and webhooks answer as they would; nothing is changed. --for-real hands the notice to the running agent
// (agent/control/drain_routes.h), or drains from here where none runs (drain_standalone.h). --cancel takes it back.
#pragma once

#include <iosfwd>
#include <string>

#include "agent/base/json.h"
#include "agent/cli/options.h"
#include "agent/config/file.h"

namespace lastlight::cli {

// 0; 1 when it cannot be done, or when the dry run found something that a drain would lack.
int drain(const Command& command, const Environment& environment, std::ostream& out, std::ostream& errors);

// The plan for people. The document: {"node", "kind", "action", "in_seconds", "treatment", "cordoned", "drained_by",
// "missing": [why], "budgets": "read" or why not, "pods": [{"namespace", "name", "controller", "choice"; of a pod to
// evict also "tier", "after_tier", "own_grace_seconds", "grace_seconds", "evict_at_seconds", "delete_at_seconds",
// "budget": {"name", "refuses", "text"}, "dry_run": {"granted", "text"}}]}. Times count from the notice.
std::string plan_text(const Json& plan);

}  // namespace lastlight::cli
