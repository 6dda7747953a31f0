// What is told of an interruption: one event of one phase, as a value and as the JSON that webhooks and commands get.
// The shape of that JSON is an interface: fields are added, never renamed. README.md lists them for template authors.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/json.h"
#include "agent/config.h"
#include "interrupt/drain.h"
#include "interrupt/notice.h"

namespace lastlight::interrupt {

using Phase = HookPhase;

std::string_view phase_name(Phase phase);  // "drain-started"

// The pods of the node that a drain is about; those that stay (DaemonSets, mirrors, finished) are not among them.
struct PodCounts {
  std::uint64_t total = 0;
  std::uint64_t told = 0;     // got their SIGTERM, those that are gone included
  std::uint64_t gone = 0;     // the watch said so
  std::uint64_t refused = 0;  // a disruption budget refuses them at present
  bool operator==(const PodCounts&) const = default;

  std::uint64_t untold() const { return total - std::min(total, told); }
};

struct HookEvent {
  static constexpr std::size_t kMaxRefused = 32;  // names; `more_refused` counts those beyond

  Phase phase = Phase::Notice;
  std::uint64_t sequence =
      0;  // of this process, from 1: the same at every try, so that a receiver can know a repetition
  Notice notice;
  PodCounts pods;
  std::vector<std::string> refused;  // namespace/name
  std::uint64_t more_refused = 0;
};

PodCounts count_pods(const Drain& drain);

// The sentence for people: "spot-1: the drain has begun, 113 s left".
std::string event_text(const HookEvent& event, std::string_view node, Instant now);

// Rendered at each try, so that the seconds left are true. Wall time is only shown.
Json event_json(const HookEvent& event, std::string_view node, Instant now, WallTime wall);

// One of each phase, for checking templates before anything happens.
HookEvent sample_event(Phase phase);

}  // namespace lastlight::interrupt
