#include "interrupt/saved_drain.h"

#include <array>

#include "agent/base/json.h"

namespace lastlight::interrupt {
namespace {

using std::chrono::milliseconds;

std::int64_t on_clock(Instant at) {
  return std::chrono::duration_cast<milliseconds>(at.time_since_epoch()).count();
}

std::optional<Instant> instant_at(const Json& json, std::string_view key) {
  const auto count = int_at(json, key);
  constexpr std::int64_t kLongest = std::int64_t{1} << 42;  // 139 years: far from overflow
  if (!count || *count < 0 || *count > kLongest) return std::nullopt;
  return Instant(milliseconds(*count));
}

template <class Enum>
std::optional<Enum> by_name(std::string_view name, std::size_t count, std::string_view (*name_of)(Enum)) {
  for (std::size_t i = 0; i < count; ++i) {
    if (name_of(static_cast<Enum>(i)) == name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

std::string_view mark_name(kube::Mark mark) {
  static constexpr std::array<std::string_view, 3> kNames = {"taint", "cordon", "drain"};
  return kNames.at(static_cast<std::size_t>(mark));
}

}  // namespace

std::string to_text(const SavedDrain& saved) {
  return dump_json(Json{{"event", saved.notice.id},
                        {"kind", std::string(kind_name(saved.notice.kind))},
                        {"action", std::string(action_name(saved.notice.action))},
                        {"source", saved.notice.source},
                        {"mark", std::string(mark_name(saved.mark))},
                        {"until", saved.until},
                        {"node", saved.node},
                        {"owner", saved.owner},
                        {"boot", saved.boot},
                        {"noticed-ms", on_clock(saved.noticed)},
                        {"deadline-ms", on_clock(saved.notice.deadline)}});
}

std::optional<SavedDrain> read_saved_drain(std::string_view text) {
  const auto json = parse_json(text, {.bytes = 16U << 10});
  if (!json) return std::nullopt;
  SavedDrain saved;
  const auto kind = by_name<NoticeKind>(string_at(*json, "kind"), kNoticeKinds, kind_name);
  const auto action = by_name<NoticeAction>(string_at(*json, "action"), kNoticeActions, action_name);
  const std::string given = string_at(*json, "mark");
  // An agent from before there were other marks says nothing.
  const auto mark = given.empty() ? std::optional(kube::Mark::Drain) : by_name<kube::Mark>(given, 3, mark_name);
  const auto noticed = instant_at(*json, "noticed-ms");
  const auto deadline = instant_at(*json, "deadline-ms");
  saved.notice.id = string_at(*json, "event");
  saved.notice.source = string_at(*json, "source");
  saved.until = string_at(*json, "until");
  saved.node = string_at(*json, "node");
  saved.owner = string_at(*json, "owner");
  saved.boot = string_at(*json, "boot");
  if (!kind || !action || !mark || !noticed || !deadline) return std::nullopt;
  if (saved.boot.empty() || saved.node.empty()) return std::nullopt;
  saved.mark = *mark;
  saved.notice.kind = *kind;
  saved.notice.action = *action;
  saved.notice.deadline = *deadline;
  saved.notice.heard = *noticed;
  saved.noticed = *noticed;
  return saved;
}

}  // namespace lastlight::interrupt
