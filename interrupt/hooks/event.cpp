#include "interrupt/hooks/event.h"

#include <algorithm>
#include <cmath>

#include "interrupt/timestamp.h"

namespace lastlight::interrupt {
namespace {

std::string_view sentence(Phase phase) {
  switch (phase) {
    case Phase::Notice:
      return "this node is about to be interrupted";
    case Phase::DrainStarted:
      return "the drain has begun";
    case Phase::PodRefused:
      return "a disruption budget refuses the eviction of pods";
    case Phase::Progress:
      return "the drain goes on";
    case Phase::Drained:
      return "every pod has left";
    case Phase::Failed:
      return "pods could not be told before the end";
    case Phase::Withdrawn:
      return "the notice was withdrawn";
  }
  return "";
}

double seconds_left(const HookEvent& event, Instant now) {
  return std::max(0.0, std::round(seconds(event.notice.deadline - now) * 10) / 10);
}

bool has_deadline(const HookEvent& event) {
  return event.notice.deadline != kNever;
}

}  // namespace

std::string_view phase_name(Phase phase) {
  switch (phase) {
    case Phase::Notice:
      return "notice";
    case Phase::DrainStarted:
      return "drain-started";
    case Phase::PodRefused:
      return "pod-refused";
    case Phase::Progress:
      return "progress";
    case Phase::Drained:
      return "drained";
    case Phase::Failed:
      return "failed";
    case Phase::Withdrawn:
      return "withdrawn";
  }
  return "unknown";
}

PodCounts count_pods(const Drain& drain) {
  PodCounts counts;
  for (const auto& [uid, record] : drain.pods()) {
    if (record.fate == Fate::Stays || record.fate == Fate::Returned) continue;
    ++counts.total;
    // One that went by itself needs no telling.
    counts.told += record.told || record.fate == Fate::Gone ? 1 : 0;
    counts.gone += record.fate == Fate::Gone ? 1 : 0;
    counts.refused += record.fate == Fate::Refused ? 1 : 0;
  }
  return counts;
}

std::string event_text(const HookEvent& event, std::string_view node, Instant now) {
  std::string text = std::string(node) + ": " + std::string(sentence(event.phase));
  if (event.phase == Phase::Notice) {
    text +=
        " (" + std::string(kind_name(event.notice.kind)) + ", " + std::string(action_name(event.notice.action)) + ")";
  } else if (event.pods.total > 0 && event.phase != Phase::Withdrawn) {
    text += ", " + std::to_string(event.pods.told) + " of " + std::to_string(event.pods.total) + " pods told, " +
            std::to_string(event.pods.gone) + " gone";
  }
  if (event.phase == Phase::Withdrawn || !has_deadline(event)) return text;
  return text + ", " + std::to_string(static_cast<long>(seconds_left(event, now))) + " s left";
}

Json event_json(const HookEvent& event, std::string_view node, Instant now, WallTime wall) {
  Json deadline, left;
  if (has_deadline(event)) {
    const auto until = std::chrono::duration_cast<std::chrono::milliseconds>(event.notice.deadline - now);
    deadline = format_rfc3339(wall + until);
    left = seconds_left(event, now);
  }
  return {{"phase", phase_name(event.phase)},
          {"sequence", event.sequence},
          {"node", node},
          {"kind", kind_name(event.notice.kind)},
          {"action", action_name(event.notice.action)},
          {"source", event.notice.source},
          {"id", event.notice.id},
          {"code", event.notice.code},
          {"deadline", deadline},  // null: no time was said
          {"secondsLeft", left},
          {"text", event_text(event, node, now)},
          {"pods", Json{{"total", event.pods.total},
                        {"told", event.pods.told},
                        {"gone", event.pods.gone},
                        {"refused", event.pods.refused}}},
          {"refused", event.refused},
          {"moreRefused", event.more_refused}};
}

HookEvent sample_event(Phase phase) {
  HookEvent event;
  event.phase = phase;
  event.sequence = 1;
  event.notice = {.deadline = Instant(std::chrono::seconds(120)), .id = "sample \"id\"\\", .source = "aws"};
  event.pods = {.total = 3, .told = 2, .gone = 1, .refused = 1};
  if (phase == Phase::PodRefused) event.refused = {"shop/ledger-0"};
  return event;
}

}  // namespace lastlight::interrupt
