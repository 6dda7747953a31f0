// Which request is next, and the token. What the items say is in aws_items.cpp.
#include "interrupt/sources/aws.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace lastlight::interrupt {
namespace {

using namespace std::chrono_literals;

constexpr Duration kTokenRetryMax = 30s;
constexpr unsigned kUnheardToChange = 2;
constexpr Duration kWithSpot = 1s;  // a slow item waits for a spot poll that is this near

// A header value that could end its line must never be sent back in a request (RFC 9110 s5.5).
bool token_is_sane(std::string_view token) {
  return !token.empty() && token.size() <= 4096 &&
         std::ranges::all_of(token, [](char c) { return c > ' ' && c <= '~'; });
}

}  // namespace

AwsSource::AwsSource(const InterruptionConfig& config, Uniform uniform)
    : config_(config), uniform_(std::move(uniform)), endpoints_{"http://169.254.169.254", "http://[fd00:ec2::254]"} {
  if (!config_.metadata_url.empty()) endpoints_.fill(config_.metadata_url);
}

HttpRequest AwsSource::token_request() const {
  const auto ttl =
      std::clamp<std::int64_t>(std::chrono::duration_cast<std::chrono::seconds>(config_.token_ttl).count(), 1, 21600);
  HttpRequest request = metadata_request(config_, endpoints_[endpoint_] + "/latest/api/token");
  request.method = "PUT";
  request.headers = {{"X-aws-ec2-metadata-token-ttl-seconds", std::to_string(ttl)}};
  return request;
}

HttpRequest AwsSource::item_request(std::string_view path) const {
  HttpRequest request = metadata_request(config_, endpoints_[endpoint_] + "/latest/meta-data/" + std::string(path));
  if (!token_.empty()) request.headers = {{"X-aws-ec2-metadata-token", token_}};
  return request;
}

SourceStep AwsSource::next(Instant now) {
  SourceStep step;
  if (now >= token_end_) token_.clear();
  ask_spot(step, now);
  ask_slow(step, now);
  counters_.requests += step.send.size();
  step.wake = wake();
  return step;
}

Instant AwsSource::wake() const {
  const Instant spot = spot_lane_.due();
  const Instant slow = slow_lane_.due();
  if (spot_lane_.open()) return spot;  // its reply brings a slow item's turn
  return slow <= spot && spot - slow <= kWithSpot ? spot : std::min(spot, slow);
}

void AwsSource::ask_spot(SourceStep& step, Instant now) {
  if (!spot_lane_.ready(now)) return;
  if (!spot_lane_.open()) {
    token_tried_ = retokened_ = false;
    polled_ = now;
  }
  spot_lane_.sent(now);
  const bool want_token = token_.empty() || now >= token_renew_;
  await_token_ = want_token && !token_tried_ && now >= token_retry_;
  if (await_token_) {
    token_tried_ = true;
    step.send.push_back({kSpotLane, token_request()});
  } else {
    tokenless_ = token_.empty();
    step.send.push_back({kSpotLane, item_request("spot/instance-action")});
  }
}

void AwsSource::ask_slow(SourceStep& step, Instant now) {
  if (!std::exchange(started_, true)) slow_lane_.start(now + config_.poll_slow / kItems);  // after the first spot poll
  // Right after a spot poll: the processor is awake, and the connection warm and free.
  if (spot_lane_.open() || !slow_lane_.ready(now)) return;
  if (token_.empty() && !config_.imds_v1) {  // the spot lane is about to get one
    slow_lane_.start(now + config_.poll);
    return;
  }
  static constexpr std::array<std::string_view, kItems> kPaths = {
      "events/recommendations/rebalance", "events/maintenance/scheduled", "events/maintenance/history",
      "autoscaling/target-lifecycle-state"};
  slow_lane_.sent(now - polled_ <= kWithSpot ? polled_ : now);  // the spot lane's grid, replies being late by turns
  step.send.push_back({kSlowLane, item_request(kPaths[static_cast<unsigned>(item_)])});
}

SourceEvents AwsSource::on_reply(unsigned lane, const HttpReply& reply, Instant sent, Instant now) {
  SourceEvents out;
  if (reply.status == 0) ++counters_.silent;
  if (lane == kSlowLane) {
    slow_lane_.replied();
    on_slow(reply, sent, now, out);
    return out;
  }
  spot_lane_.replied();
  if (reply.status != 0) unheard_ = 0;
  if (await_token_) {
    on_token(reply, now);
  } else {
    on_spot(reply, sent, now, out);
  }
  return out;
}

void AwsSource::on_token(const HttpReply& reply, Instant now) {
  spot_lane_.again(now);  // the GET follows in the same poll
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

void AwsSource::on_spot(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out) {
  const bool answered = reply.status == 200 || reply.status == 404;
  if (answered && tokenless_ && !config_.imds_v1) {
    diagnosis_ = Diagnosis::V1Only;
    token_retry_ = {};
    ++counters_.polls_failed;
    spot_lane_.failed(now);
    return;
  }
  if (answered && read_spot(reply, sent, now, out)) {
    succeeded(now);
    return;
  }
  spot_.unsure();
  if (reply.status == 401) {
    ++counters_.unauthorized;
    const bool had_token = !std::exchange(token_, {}).empty();
    if (!had_token && put_silent_) diagnosis_ = Diagnosis::HopLimit;
    token_retry_ = {};               // nothing works without a token: every poll asks
    if (had_token && !retokened_) {  // expired or foreign: a new token and the GET again, in this very poll
      retokened_ = true;
      token_tried_ = false;
      spot_lane_.again(now);
      return;
    }
  }
  if (reply.status == 200) ++counters_.unreadable;
  if (reply.status == 403) diagnosis_ = Diagnosis::Disabled;
  if (reply.status == 0) unheard();
  ++counters_.polls_failed;
  spot_lane_.failed(now);
}

void AwsSource::on_slow(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out) {
  const Item asked = item_;
  const bool read = (reply.status == 200 || reply.status == 404) && read_slow(reply, sent, now, out);
  if (!read && asked != Item::History) announced(asked).unsure();
  if (!read && reply.status == 200) ++counters_.unreadable;
  if (reply.status == 401) ++counters_.unauthorized;  // the spot lane meets it within a second and renews the token
  ++(read ? counters_.polls_ok : counters_.polls_failed);
  do {  // history is of no interest while nothing is scheduled
    item_ = static_cast<Item>((static_cast<unsigned>(item_) + 1) % kItems);
  } while (item_ == Item::History && maintenance_.empty());
  // An item that fails does not keep the others waiting: its turn is over.
  slow_lane_.succeeded(now, config_.poll_slow / kItems);
}

bool AwsSource::read_slow(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out) {
  switch (item_) {
    case Item::Rebalance:
      return read_rebalance(reply, sent, now, out);
    case Item::Scheduled:
      return read_scheduled(reply, sent, now, out);
    case Item::History:
      return read_history(reply, out);
    case Item::Asg:
      return read_asg(reply, sent, now, out);
  }
  return false;
}

Announced& AwsSource::announced(Item item) {
  return item == Item::Rebalance ? rebalance_ : item == Item::Asg ? asg_ : maintenance_;
}

// Nobody there: perhaps this node has only the other protocol.
void AwsSource::unheard() {
  if (++unheard_ < kUnheardToChange) return;
  unheard_ = 0;
  endpoint_ = 1 - endpoint_;
}

void AwsSource::succeeded(Instant now) {
  ++counters_.polls_ok;
  last_success_ = now;
  diagnosis_ = Diagnosis::None;
  spot_lane_.succeeded(now, config_.poll);
}

}  // namespace lastlight::interrupt
