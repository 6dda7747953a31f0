#include "interrupt/sources/reading.h"

#include <algorithm>
#include <utility>

#include "interrupt/timestamp.h"

namespace lastlight::interrupt {
namespace {

using namespace std::chrono_literals;

constexpr Duration kOverdue = 30s;
constexpr std::chrono::milliseconds kLongPast = 1h;
constexpr std::chrono::milliseconds kBeyond = 24h * 1000;  // more than any `farthest`; fits in nanoseconds

bool is_in(const std::vector<std::string>& ids, std::string_view id) {
  return std::ranges::find(ids, id) != ids.end();
}

}  // namespace

std::optional<Deadline> deadline_of(const HttpReply& reply, WallTime end, Instant sent, std::optional<Duration> lead,
                                    Duration farthest) {
  const auto date = parse_http_date(reply.header("Date"));
  if (!date) {
    if (!lead) return std::nullopt;
    return Deadline{.at = sent + *lead, .assumed = true};
  }
  // Clamped before it becomes nanoseconds: the year 9999 does not fit.
  const auto apart = std::clamp(end - *date, -kBeyond, kBeyond);
  if (apart < -kLongPast || apart > farthest) return std::nullopt;
  // Date has cut off its fraction of a second (RFC 9110 s5.6.7), so it is taken for the middle of that second: wrong by
  // half a second at most, which the margin absorbs. Counted from the request's departure: a slow reply's Date is older
  // than its arrival.
  if (const Duration left = Duration(apart) - 500ms; left > left.zero()) return Deadline{.at = sent + left};
  return overdue(sent);
}

Deadline overdue(Instant sent) {
  return {.at = sent + kOverdue, .assumed = true};
}

HttpRequest metadata_request(const InterruptionConfig& config, std::string url) {
  HttpRequest request;
  request.url = std::move(url);
  request.timeout = request.connect_timeout = config.request_timeout;
  request.max_body = kMaxMetadataBody;
  return request;
}

void Announced::saw(std::vector<Present> present, Instant sent, Instant now, SourceEvents& out,
                    SourceCounters& counters) {
  for (Standing& standing : standing_)
    standing.present = false;
  for (Present& each : present) {
    if (is_in(ended_, each.notice.id)) continue;
    auto known = std::ranges::find(standing_, each.notice.id, &Standing::id);
    const bool is_new = known == standing_.end();
    if (is_new && standing_.size() >= kMax) {
      ++counters.over_bound;
      continue;
    }
    if (is_new) known = standing_.insert(standing_.end(), {.id = each.notice.id, .revision = each.revision});
    known->present = true;
    known->absent = 0;
    const bool revised = !each.revision.empty() && std::exchange(known->revision, each.revision) != each.revision;
    if (!is_new && !revised) continue;
    each.notice.heard = now;
    each.notice.unseen = unseen_;
    out.emplace_back(std::move(each.notice));
  }
  std::erase_if(standing_, [&](Standing& standing) {
    if (standing.present || ++standing.absent < kAbsent) return false;
    out.emplace_back(Withdrawn{.id = standing.id, .why = "absent"});
    return true;
  });
  unseen_ = sent;
}

void Announced::unsure() {
  for (Standing& standing : standing_)
    standing.absent = 0;
}

void Announced::ended(std::string_view id, std::string_view why, SourceEvents& out) {
  if (is_in(ended_, id)) return;
  if (ended_.size() >= kMax) ended_.erase(ended_.begin());
  ended_.emplace_back(id);
  if (std::erase_if(standing_, [&](const Standing& standing) { return standing.id == id; }) > 0) {
    out.emplace_back(Withdrawn{.id = std::string(id), .why = std::string(why)});
  }
}

bool Announced::doubted() const {
  return std::ranges::any_of(standing_, [](const Standing& standing) { return standing.absent > 0; });
}

bool Announced::has(std::string_view id) const {
  return std::ranges::find(standing_, id, &Standing::id) != standing_.end();
}

void Lane::sent(Instant now) {
  busy_ = true;
  if (std::exchange(open_, true)) return;
  began_ = now;
}

void Lane::succeeded(Instant now, Duration period) {
  open_ = false;
  failures_ = 0;
  due_ = std::max(now, began_ + period);
}

void Lane::failed(Instant now) {
  open_ = false;
  due_ = now + backoff(config_.backoff_min, config_.backoff_max, ++failures_, uniform_());
}

}  // namespace lastlight::interrupt
