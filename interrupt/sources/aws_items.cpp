// What the items of the EC2 metadata service say. Each reader returns false for a reply that is no such item.
#include <algorithm>
#include <utility>

#include "agent/base/json.h"
#include "interrupt/sources/aws.h"
#include "interrupt/timestamp.h"

namespace lastlight::interrupt {
namespace {

using namespace std::chrono_literals;

constexpr Duration kSpotLead = 120s;    // documented: a notice comes two minutes ahead
constexpr Duration kFarthestSpot = 1h;  // later than this is no spot notice
constexpr Duration kFarthestMaintenance = 24h * 400;

struct Spot {
  NoticeKind kind;
  NoticeAction action;
};

std::optional<Spot> read_action(std::string_view text) {
  if (text == "terminate") return Spot{NoticeKind::SpotTerminate, NoticeAction::Terminate};
  if (text == "stop") return Spot{NoticeKind::SpotStop, NoticeAction::Stop};
  if (text == "hibernate") return Spot{NoticeKind::SpotHibernate, NoticeAction::Hibernate};
  return std::nullopt;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.remove_suffix(1);
  return text;
}

// By the service's own clock; not in the future.
std::optional<Instant> made_at(const HttpReply& reply, WallTime made, Instant sent) {
  const auto date = parse_http_date(reply.header("Date"));
  if (!date) return std::nullopt;
  const std::chrono::milliseconds age = *date - made;
  return sent - std::clamp<std::chrono::milliseconds>(age, 0ms, 24h * 400);
}

bool is_over(std::string_view state) {
  return state == "canceled" || state == "completed";
}

}  // namespace

bool AwsSource::read_spot(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out) {
  if (reply.status == 404) {
    spot_.saw({}, sent, now, out, counters_);
    return true;
  }
  const auto json = parse_json(reply.body);
  const std::string action_text = json ? string_at(*json, "action") : std::string{};
  const std::string time_text = json ? string_at(*json, "time") : std::string{};
  const auto spot = read_action(action_text);
  const auto time = parse_rfc3339(time_text);
  if (!spot || !time) return false;
  const auto deadline = deadline_of(reply, *time, sent, kSpotLead, kFarthestSpot);
  if (!deadline) {
    ++counters_.out_of_range;
    spot_.unsure();
    return true;
  }
  spot_.saw({{.notice = {.kind = spot->kind,
                         .action = spot->action,
                         .deadline = deadline->at,
                         .id = "aws-spot-" + action_text + "-" + time_text,
                         .source = "aws",
                         .deadline_assumed = deadline->assumed,
                         .code = action_text}}},
            sent, now, out, counters_);
  return true;
}

bool AwsSource::read_rebalance(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out) {
  if (reply.status == 404) {
    rebalance_.saw({}, sent, now, out, counters_);
    return true;
  }
  const auto json = parse_json(reply.body);
  const std::string time = json ? string_at(*json, "noticeTime") : std::string{};
  const auto made = parse_rfc3339(time);
  if (!made) return false;
  rebalance_.saw({{.notice = {.kind = NoticeKind::Rebalance,
                              .action = NoticeAction::None,
                              .deadline = kNever,
                              .id = "aws-rebalance-" + time,
                              .source = "aws",
                              .code = "rebalance",
                              .made = made_at(reply, *made, sent)}}},
                 sent, now, out, counters_);
  return true;
}

bool AwsSource::read_asg(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out) {
  std::string state(trimmed(reply.body));
  if (reply.status == 404) state.clear();  // in no group
  // Letters and a colon at most: anything else is not this item.
  const bool sane =
      state.size() <= 64 &&
      state.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:") == std::string::npos;
  if (!sane) return false;
  std::vector<Announced::Present> present;
  if (state == "Terminated" || state == "Warmed:Terminated") {
    present.push_back({.notice = {.kind = NoticeKind::AsgTerminate,
                                  .action = NoticeAction::Terminate,
                                  .deadline = now + config_.policy.assumed_window,
                                  .id = "aws-asg-" + state,
                                  .source = "aws",
                                  .deadline_assumed = true,
                                  .code = state}});
  }
  asg_.saw(std::move(present), sent, now, out, counters_);
  return true;
}

bool AwsSource::read_scheduled(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out) {
  const auto json = reply.status == 404 ? parse_json("[]") : parse_json(reply.body);
  if (!json || !json->is_array()) return false;
  std::vector<Announced::Present> present;
  for (const Json& event : array_or_empty(&*json)) {
    const std::string code = string_at(event, "Code"), event_id = string_at(event, "EventId");
    const std::string state = string_at(event, "State"), not_before = string_at(event, "NotBefore");
    const auto time = parse_aws_date(not_before);
    std::string id = "aws-event-" + event_id;
    if (is_over(state)) {
      maintenance_.ended(id, state, out);
      continue;
    }
    const bool readable = !event_id.empty() && !code.empty() && state == "active" && time;
    const auto deadline = readable ? deadline_of(reply, *time, sent, std::nullopt, kFarthestMaintenance) : std::nullopt;
    if (!deadline) {
      ++(readable ? counters_.out_of_range : counters_.unreadable);
      if (maintenance_.has(id))
        present.push_back({.notice = {.id = std::move(id), .source = "aws"}});  // it stands as it was told
      continue;
    }
    const bool reboots = code == "instance-reboot" || code == "system-reboot";
    present.push_back({.notice = {.kind = reboots ? NoticeKind::Reboot : NoticeKind::Maintenance,
                                  .action = reboots ? NoticeAction::Reboot : NoticeAction::Stop,
                                  .deadline = deadline->at,
                                  .id = std::move(id),
                                  .source = "aws",
                                  .deadline_assumed = deadline->assumed,
                                  .code = code},
                       .revision = not_before});
  }
  maintenance_.saw(std::move(present), sent, now, out, counters_);
  return true;
}

// Says which events were cancelled or completed before the list of scheduled ones forgets them.
bool AwsSource::read_history(const HttpReply& reply, SourceEvents& out) {
  const auto json = reply.status == 404 ? parse_json("[]") : parse_json(reply.body);
  if (!json || !json->is_array()) return false;
  for (const Json& event : array_or_empty(&*json)) {
    const std::string state = string_at(event, "State");
    // Only what stands: history is long, what is remembered of it is not.
    if (const std::string id = "aws-event-" + string_at(event, "EventId"); is_over(state) && maintenance_.has(id)) {
      maintenance_.ended(id, state, out);
    }
  }
  return true;
}

}  // namespace lastlight::interrupt
