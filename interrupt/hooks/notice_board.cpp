#include "interrupt/hooks/notice_board.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "agent/base/json.h"
#include "interrupt/timestamp.h"

namespace lastlight::interrupt {
namespace {

constexpr auto kRounding = std::chrono::seconds(2);  // clouds say whole seconds
constexpr const char* kNone = "\"none\"";

HttpReply text(int status, std::string body) {
  return {.status = status, .headers = {{"Content-Type", "text/plain"}}, .body = std::move(body), .error = {}};
}

// The value of ?wait=, in whole seconds: none where it is absent, negative where it is no such number.
std::optional<Duration> wait_of(std::string_view url) {
  for (auto at = url.find('?'); at != std::string_view::npos; at = url.find('&', at + 1)) {
    std::string_view pair = url.substr(at + 1);
    pair = pair.substr(0, pair.find('&'));
    if (!pair.starts_with("wait=")) continue;
    pair.remove_prefix(5);
    if (pair.ends_with('s')) pair.remove_suffix(1);
    unsigned value = 0;
    const auto [end, error] = std::from_chars(pair.data(), pair.data() + pair.size(), value);
    if (pair.empty() || error != std::errc() || end != pair.data() + pair.size()) return Duration(-1);
    return std::min<Duration>(std::chrono::seconds(value), NoticeBoard::kMaxWait);
  }
  return std::nullopt;
}

std::string_view known_etag(const HttpRequest& request) {
  for (const HttpHeader& header : request.headers) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    if (std::ranges::equal(header.name, std::string_view("if-none-match"), {}, lower)) return header.value;
  }
  return {};
}

}  // namespace

const Notice* NoticeBoard::most_urgent() const {
  const auto first = std::ranges::min_element(notices_, {}, &Notice::deadline);
  return first == notices_.end() ? nullptr : &*first;
}

std::string NoticeBoard::etag() const {
  const Notice* notice = most_urgent();
  if (notice == nullptr) return kNone;
  const auto second = std::chrono::floor<std::chrono::seconds>(notice->deadline.time_since_epoch()).count();
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const char c : notice->id + '/' + std::to_string(second))
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return '"' + std::to_string(hash) + '"';
}

HttpReply NoticeBoard::reply(Instant now, WallTime wall, std::string_view known) const {
  const Notice* notice = most_urgent();
  HttpReply reply{.status = 204, .headers = {{"ETag", etag()}, {"Cache-Control", "no-store"}}, .body = {}, .error = {}};
  if (notice == nullptr) return reply;
  if (known == etag()) {
    reply.status = 304;
    return reply;
  }
  Json json = {{"kind", kind_name(notice->kind)},
               {"action", action_name(notice->action)},
               {"source", notice->source},
               {"code", notice->code},
               {"id", notice->id},
               {"deadline", nullptr},
               {"secondsLeft", nullptr}};
  if (notice->deadline != kNever) {
    const Duration left = notice->deadline - now;
    json["deadline"] = format_rfc3339(wall + std::chrono::duration_cast<std::chrono::milliseconds>(left));
    json["secondsLeft"] = std::max(0.0, std::round(seconds(left) * 10) / 10);
  }
  reply.status = 200;
  reply.headers.push_back({"Content-Type", "application/json"});
  reply.body = dump_json(json) + "\n";
  return reply;
}

std::optional<HttpReply> NoticeBoard::on_request(const HttpRequest& request, const IpAddress& client, WaiterId id,
                                                 Instant now, WallTime wall) {
  ++counters_.requests;
  const std::string_view url = request.url;
  if (url.substr(0, url.find('?')) != "/interruption") return text(404, "no such path; try /interruption\n");
  if (request.method != "GET") {
    HttpReply refused = text(405, "only GET\n");
    refused.headers.push_back({"Allow", "GET, HEAD"});
    return refused;
  }
  const auto wait = wait_of(url);
  if (wait && *wait < Duration::zero()) return text(400, "wait takes whole seconds, such as 60s\n");
  const std::string_view known = known_etag(request);
  const std::string present = etag();
  const bool knows = known.empty() ? present == kNone : known == present;
  if (!wait || *wait == Duration::zero() || !knows) return reply(now, wall, known);
  const bool full = waiters_.size() >= kMaxWaiters;
  std::size_t& of_client = by_client_[client];
  if (full || of_client >= kMaxPerClient) {
    ++(full ? counters_.refused_full : counters_.refused_client);
    if (of_client == 0) by_client_.erase(client);
    HttpReply refused = text(503, full ? "too many wait\n" : "too many of this address wait\n");
    refused.headers.push_back({"Retry-After", "5"});
    return refused;
  }
  ++of_client;
  waiters_.emplace(id, Waiter{.client = client, .end = now + *wait});
  by_end_.emplace(now + *wait, id);
  ++counters_.waited;
  counters_.waiters = waiters_.size();
  return std::nullopt;
}

void NoticeBoard::gone(WaiterId id) {
  forget(id);
}

void NoticeBoard::forget(WaiterId id) {
  const auto found = waiters_.find(id);
  if (found == waiters_.end()) return;
  const auto client = by_client_.find(found->second.client);
  if (--client->second == 0) by_client_.erase(client);
  by_end_.erase({found->second.end, id});
  waiters_.erase(found);
  counters_.waiters = waiters_.size();
}

std::vector<NoticeBoard::WaiterId> NoticeBoard::changed() {
  std::vector<WaiterId> out;
  for (const auto& [id, waiter] : waiters_)
    out.push_back(id);
  counters_.told += out.size();
  waiters_.clear();
  by_end_.clear();
  by_client_.clear();
  counters_.waiters = 0;
  return out;
}

std::vector<NoticeBoard::WaiterId> NoticeBoard::on_notice(const Notice& notice) {
  const std::string before = etag();
  const auto known = std::ranges::find(notices_, notice.id, &Notice::id);
  if (known == notices_.end()) {
    if (notices_.size() >= kMaxNotices) return {};
    notices_.push_back(notice);
  } else if (std::chrono::abs(known->deadline - notice.deadline) > kRounding) {
    *known = notice;
  }
  return etag() == before ? std::vector<WaiterId>{} : changed();
}

std::vector<NoticeBoard::WaiterId> NoticeBoard::on_withdrawn(const Withdrawn& withdrawn) {
  const std::string before = etag();
  std::erase_if(notices_, [&](const Notice& notice) { return notice.id == withdrawn.id; });
  return etag() == before ? std::vector<WaiterId>{} : changed();
}

std::vector<NoticeBoard::WaiterId> NoticeBoard::expire(Instant now) {
  std::vector<WaiterId> out;
  while (!by_end_.empty() && by_end_.begin()->first <= now) {
    out.push_back(by_end_.begin()->second);
    forget(out.back());
  }
  return out;
}

}  // namespace lastlight::interrupt
