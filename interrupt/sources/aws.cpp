#include "interrupt/sources/aws.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "agent/base/json.h"
#include "interrupt/timestamp.h"

namespace lastlight::interrupt {
namespace {

constexpr auto kLeadTime = std::chrono::seconds(120);  // documented: a notice comes two minutes ahead
constexpr auto kFarthest = std::chrono::hours(1);      // later than this is no spot notice
constexpr std::chrono::milliseconds kOutOfRange = std::chrono::hours(48);
constexpr auto kTokenRetryMax = std::chrono::seconds(30);
constexpr unsigned kAbsentToWithdraw = 3;  // one stray 404 must not undo a drain
constexpr std::uint64_t kMaxBody = 16U << 10;

std::optional<NoticeAction> read_action(std::string_view text) {
  if (text == "terminate") return NoticeAction::Terminate;
  if (text == "stop") return NoticeAction::Stop;
  if (text == "hibernate") return NoticeAction::Hibernate;
  return std::nullopt;
}

// A header value that could end its line must never be sent back in a request (RFC 9110 s5.5).
bool token_is_sane(std::string_view token) {
  return !token.empty() && token.size() <= 4096 &&
         std::ranges::all_of(token, [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

AwsSource::AwsSource(const InterruptionConfig& config, Uniform uniform)
    : config_(config), uniform_(std::move(uniform)) {}

HttpRequest AwsSource::token_request() const {
  const auto ttl =
      std::clamp<std::int64_t>(std::chrono::duration_cast<std::chrono::seconds>(config_.token_ttl).count(), 1, 21600);
  HttpRequest request;
  request.method = "PUT";
  request.url = config_.metadata_url + "/latest/api/token";
  request.headers = {{"X-aws-ec2-metadata-token-ttl-seconds", std::to_string(ttl)}};
  request.timeout = request.connect_timeout = config_.request_timeout;
  request.max_body = kMaxBody;
  return request;
}

HttpRequest AwsSource::item_request() const {
  HttpRequest request;
  request.url = config_.metadata_url + "/latest/meta-data/spot/instance-action";
  if (!token_.empty()) request.headers = {{"X-aws-ec2-metadata-token", token_}};
  request.timeout = request.connect_timeout = config_.request_timeout;
  request.max_body = kMaxBody;
  return request;
}

SourceStep AwsSource::next(Instant now) {
  if (await_ != Await::Nothing) return {};
  if (now < due_) return {.send = std::nullopt, .wake = due_};
  if (!tick_open_) {
    tick_open_ = true;
    tick_ = now;
    token_tried_ = retokened_ = false;
  }
  if (now >= token_end_) token_.clear();
  const bool want_token = token_.empty() || now >= token_renew_;
  ++counters_.requests;
  if (want_token && !token_tried_ && now >= token_retry_) {
    token_tried_ = true;
    await_ = Await::Token;
    return {.send = token_request(), .wake = kNever};
  }
  // Without a token the GET still goes: where IMDSv1 is allowed it answers, and where not its 401 is the diagnosis.
  await_ = Await::Item;
  return {.send = item_request(), .wake = kNever};
}

SourceResult AwsSource::on_reply(const HttpReply& reply, Instant sent, Instant now) {
  switch (std::exchange(await_, Await::Nothing)) {
    case Await::Token:
      on_token(reply, now);
      return {};
    case Await::Item:
      return on_item(reply, sent, now);
    case Await::Nothing:
      break;
  }
  return {};
}

void AwsSource::on_token(const HttpReply& reply, Instant now) {
  due_ = now;  // the GET follows in the same poll
  std::string_view token = reply.body;
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r'))
    token.remove_suffix(1);
  put_silent_ = reply.status == 0;
  if (reply.status != 200 || !token_is_sane(token)) {
    ++counters_.token_failures;
    if (reply.status == 403) diagnosis_ = Diagnosis::Disabled;
    token_retry_ = now + backoff(config_.backoff_min, kTokenRetryMax, ++token_failures_, uniform_());
    return;
  }
  ++counters_.tokens;
  token_failures_ = 0;
  token_retry_ = {};
  token_ = token;
  const std::string_view granted = reply.header("X-aws-ec2-metadata-token-ttl-seconds");
  std::int64_t ttl = 0;
  const auto [end, error] = std::from_chars(granted.data(), granted.data() + granted.size(), ttl);
  const bool said = error == std::errc{} && end == granted.data() + granted.size() && ttl > 0;
  const Duration life = said ? Duration(std::chrono::seconds(std::min<std::int64_t>(ttl, 21600))) : config_.token_ttl;
  token_renew_ = now + life / 2;
  token_end_ = now + life;
}

SourceResult AwsSource::on_item(const HttpReply& reply, Instant sent, Instant now) {
  if (reply.status == 404) {
    succeeded(now);
    return on_nothing();
  }
  absent_ = 0;
  if (reply.status == 200) return on_instance_action(reply, sent, now);
  if (reply.status == 401) {
    ++counters_.unauthorized;
    const bool had_token = !std::exchange(token_, {}).empty();
    if (!had_token && put_silent_) diagnosis_ = Diagnosis::HopLimit;
    if (had_token && !retokened_) {  // expired or foreign: a new token and the GET again, in this very poll
      retokened_ = true;
      token_tried_ = false;
      token_retry_ = {};
      due_ = now;
      return {};
    }
    token_retry_ = {};  // nothing works without a token: every poll asks
  }
  if (reply.status == 403) diagnosis_ = Diagnosis::Disabled;
  failed(now);
  return {};
}

SourceResult AwsSource::on_instance_action(const HttpReply& reply, Instant sent, Instant now) {
  const auto json = parse_json(reply.body);
  const std::string action_text = json ? string_at(*json, "action") : std::string{};
  const std::string time_text = json ? string_at(*json, "time") : std::string{};
  const auto action = read_action(action_text);
  const auto time = parse_rfc3339(time_text);
  if (!action || !time) {
    ++counters_.unreadable;
    failed(now);
    return {};
  }
  // The service's own clock, in the same reply, says how long is left; ours is not asked. Date has cut off its fraction
  // of a second (RFC 9110 s5.6.7), so it is taken for the middle of that second: wrong by half a second at most, which
  // the margin absorbs. Counted from the request's departure: a slow reply's Date is older than its arrival.
  const auto date = parse_http_date(reply.header("Date"));
  // Clamped before it becomes nanoseconds: the year 9999 does not fit.
  const auto apart = date ? std::clamp(*time - *date, -kOutOfRange, kOutOfRange) : 0ms;
  const Duration left = date ? Duration(apart) - 500ms : Duration(kLeadTime);
  succeeded(now);
  std::string id = "aws-spot-" + action_text + "-" + time_text;
  if (id == announced_) return {};
  if (left <= left.zero() || left > kFarthest) {  // EC2 leaves a notice standing when it fails to terminate
    ++counters_.out_of_range;
    return {};
  }
  announced_ = id;
  return Notice{.kind = NoticeKind::SpotTerminate,
                .action = *action,
                .deadline = sent + left,
                .id = std::move(id),
                .source = "aws",
                .deadline_assumed = !date};
}

SourceResult AwsSource::on_nothing() {
  if (announced_.empty() || ++absent_ < kAbsentToWithdraw) return {};
  absent_ = 0;
  return Withdrawn{std::exchange(announced_, {})};
}

void AwsSource::succeeded(Instant now) {
  ++counters_.polls_ok;
  last_success_ = now;
  failures_ = 0;
  diagnosis_ = Diagnosis::None;
  tick_open_ = false;
  due_ = std::max(now, tick_ + config_.poll);
}

void AwsSource::failed(Instant now) {
  ++counters_.polls_failed;
  tick_open_ = false;
  due_ = now + backoff(config_.backoff_min, config_.backoff_max, ++failures_, uniform_());
}

}  // namespace lastlight::interrupt
