#include "interrupt/sources/azure.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "agent/base/json.h"
#include "interrupt/timestamp.h"

namespace lastlight::interrupt {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view kEventsPath = "/metadata/scheduledevents?api-version=2020-07-01";
constexpr std::string_view kNamePath = "/metadata/instance/compute/name?api-version=2021-02-01&format=text";
constexpr Duration kFirstCall = 125s;  // documented: up to two minutes
constexpr Duration kFarthest = 24h * 60;
constexpr std::string_view kIdPrefix = "azure-";

struct Type {
  std::string_view name;
  NoticeKind kind;
  NoticeAction action;
  std::optional<Duration> lead;  // documented minimum, for a reply without a Date
};
constexpr std::array<Type, 5> kTypes = {
    Type{"Preempt", NoticeKind::Preempt, NoticeAction::Terminate, 30s},
    Type{"Terminate", NoticeKind::Terminate, NoticeAction::Terminate, 5min},
    Type{"Reboot", NoticeKind::Reboot, NoticeAction::Reboot, 15min},
    Type{"Redeploy", NoticeKind::Redeploy, NoticeAction::Stop, 10min},
    Type{"Freeze", NoticeKind::Freeze, NoticeAction::Pause, 15min},
};

// Azure's names of resources are case-insensitive.
bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

bool name_is_sane(std::string_view name) {
  return !name.empty() && name.size() <= 256 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_.").find(c) != std::string_view::npos;
  });
}

}  // namespace

struct AzureSource::Event {
  std::string id;
  std::string status;
  std::string type;
  std::string not_before;
  std::vector<std::string> resources;
};

AzureSource::AzureSource(const InterruptionConfig& config, Uniform uniform)
    : config_(config),
      uniform_(std::move(uniform)),
      endpoint_(config.metadata_url.empty() ? "http://169.254.169.254" : config.metadata_url) {}

HttpRequest AzureSource::request(std::string path) const {
  HttpRequest out = metadata_request(config_, endpoint_ + std::move(path));
  out.headers = {{"Metadata", "true"}};
  return out;
}

SourceStep AzureSource::next(Instant now) {
  SourceStep step;
  if (poll_lane_.ready(now)) {
    poll_lane_.sent(now);
    await_name_ = own_name_.empty();
    step.send.push_back({kPollLane, request(std::string(await_name_ ? kNamePath : kEventsPath))});
  }
  ask_side(step, now);
  counters_.requests += step.send.size();
  step.wake = poll_lane_.due();
  if (!acknowledge_.empty()) step.wake = std::min(step.wake, side_lane_.due());
  return step;
}

void AzureSource::ask_side(SourceStep& step, Instant now) {
  if (!side_lane_.ready(now)) return;
  if (!std::exchange(first_call_, true)) {
    side_ = Side::FirstCall;
    HttpRequest first = request(std::string(kEventsPath));
    first.timeout = kFirstCall;
    side_lane_.sent(now);
    step.send.push_back({kSideLane, std::move(first)});
    return;
  }
  if (acknowledge_.empty()) return;
  side_ = Side::Acknowledge;
  HttpRequest start = request(std::string(kEventsPath));
  start.method = "POST";
  start.headers.push_back({"Content-Type", "application/json"});
  const std::string event_id = acknowledge_.front().substr(kIdPrefix.size());
  start.body = dump_json(Json{{"StartRequests", Json::array({Json{{"EventId", event_id}}})}});
  side_lane_.sent(now);
  step.send.push_back({kSideLane, std::move(start)});
}

SourceEvents AzureSource::on_reply(unsigned lane, const HttpReply& reply, Instant sent, Instant now) {
  SourceEvents out;
  if (lane == kSideLane) {
    side_lane_.replied();
    on_side(reply, sent, now, out);
    return out;
  }
  poll_lane_.replied();
  if (std::exchange(await_name_, false)) {
    if (read_name(reply)) {
      ++counters_.polls_ok;
      poll_lane_.again(now);  // the events follow in the same poll
    } else {
      failed(reply, now);
    }
  } else if (reply.status == 200 && read_events(reply, sent, now, out)) {
    succeeded(now);
  } else {
    announced_.unsure();
    failed(reply, now);
  }
  return out;
}

void AzureSource::on_side(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out) {
  if (side_ == Side::FirstCall) {
    // Counts when it came first: later it is old news.
    if (!warm_ && !own_name_.empty() && reply.status == 200 && read_events(reply, sent, now, out)) succeeded(now);
    side_lane_.succeeded(now, 0s);
    return;
  }
  const bool final = reply.status >= 200 && reply.status < 500 && reply.status != 429;  // 400: it is over already
  if (final) {
    acknowledge_.erase(acknowledge_.begin());
    side_lane_.succeeded(now, 0s);
  } else {
    side_lane_.failed(now);
  }
}

bool AzureSource::read_name(const HttpReply& reply) {
  if (reply.status != 200 || !name_is_sane(reply.body)) return false;
  own_name_ = reply.body;
  return true;
}

bool AzureSource::read_events(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out) {
  const auto json = parse_json(reply.body);
  if (!json || !int_at(*json, "DocumentIncarnation") || find(*json, "Events") == nullptr ||
      !find(*json, "Events")->is_array()) {
    return false;
  }
  std::vector<Announced::Present> present;
  for (const Json& each : array_at(*json, "Events")) {
    Event event{.id = string_at(each, "EventId"),
                .status = string_at(each, "EventStatus"),
                .type = string_at(each, "EventType"),
                .not_before = string_at(each, "NotBefore"),
                .resources = {}};
    for (const Json& resource : array_at(each, "Resources"))
      event.resources.push_back(string_or_empty(&resource));
    if (auto read = read_event(event, reply, sent)) present.push_back(std::move(*read));
  }
  alone_.clear();
  for (const Announced::Present& each : present) {
    if (each.notice.alone && alone_.size() < kMaxAlone) alone_.push_back(each.notice.id);
  }
  announced_.saw(std::move(present), sent, now, out, counters_);
  return true;
}

std::optional<Announced::Present> AzureSource::read_event(const Event& event, const HttpReply& reply, Instant sent) {
  // The document lists the events of the whole set.
  if (std::ranges::none_of(event.resources, [&](const std::string& each) { return same_name(each, own_name_); })) {
    ++counters_.others;
    return std::nullopt;
  }
  std::string id = std::string(kIdPrefix) + event.id;
  const auto type = std::ranges::find(kTypes, event.type, &Type::name);
  const bool started = event.status == "Started";
  const auto time = parse_http_date(event.not_before);
  const bool named = !event.id.empty() && event.id.size() <= 128;
  const bool readable = type != kTypes.end() && named && (started || (event.status == "Scheduled" && time));
  std::optional<Deadline> deadline;
  if (readable) {
    // Once it has started there is no NotBefore: at first sight it is happening now.
    deadline = time ? deadline_of(reply, *time, sent, type->lead, kFarthest) : overdue(sent);
  }
  if (!deadline || (started && announced_.has(id))) {
    if (!deadline) ++(readable ? counters_.out_of_range : counters_.unreadable);
    if (!announced_.has(id)) return std::nullopt;
    return Announced::Present{.notice = {.id = std::move(id), .source = "azure"}};  // it stands as it was told
  }
  return Announced::Present{.notice = {.kind = type->kind,
                                       .action = type->action,
                                       .deadline = deadline->at,
                                       .id = std::move(id),
                                       .source = "azure",
                                       .deadline_assumed = deadline->assumed,
                                       .code = event.type,
                                       .alone = event.resources.size() == 1},
                            .revision = event.not_before};
}

void AzureSource::may_start(std::string_view id) {
  if (!config_.azure_acknowledge || acknowledge_.size() >= kMaxAlone) return;
  // The others in the event would be stopped early with us.
  if (std::ranges::find(alone_, id) == alone_.end() || std::ranges::find(acknowledge_, id) != acknowledge_.end())
    return;
  acknowledge_.emplace_back(id);
}

void AzureSource::succeeded(Instant now) {
  ++counters_.polls_ok;
  warm_ = true;
  last_success_ = now;
  diagnosis_ = Diagnosis::None;
  poll_lane_.succeeded(now, config_.poll);
}

void AzureSource::failed(const HttpReply& reply, Instant now) {
  ++counters_.polls_failed;
  if (reply.status == 0) ++counters_.silent;
  if (reply.status == 200) ++counters_.unreadable;
  if (reply.status == 403) diagnosis_ = Diagnosis::Disabled;
  if (reply.status == 0 && !warm_ && !own_name_.empty()) diagnosis_ = Diagnosis::Warming;
  poll_lane_.failed(now);
}

}  // namespace lastlight::interrupt
