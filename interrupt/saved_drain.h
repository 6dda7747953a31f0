// All that is saved of a drain, or of a mark without one: the plan is recomputed from T and the pods. It is the text of
// the node's annotation and of the copy on the node's tmpfs. The boot id says whether its instants, which are of the
// boot clock, still mean anything.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agent/base/time.h"
#include "agent/kube/node.h"
#include "interrupt/notice.h"
#include "interrupt/plan.h"

namespace lastlight::interrupt {

struct SavedDrain {
  Notice notice;  // without a drain its deadline is the instant at which the mark is to be taken away
  kube::Mark mark = kube::Mark::Drain;
  Instant noticed{};
  std::string node;
  std::string boot = {};   // /proc/sys/kernel/random/boot_id
  std::string owner = {};  // "agent", or "standalone" for a drain from the command line
  std::string until = {};  // the deadline in RFC 3339, for people
};

std::string to_text(const SavedDrain& saved);  // one line of JSON
// nullopt for anything that to_text did not write.
std::optional<SavedDrain> read_saved_drain(std::string_view text);

}  // namespace lastlight::interrupt
