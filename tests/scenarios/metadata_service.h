// A cloud's metadata service in virtual time, by its documents, with faults; and the clockwork that runs a source
// against it. No socket, no clock, no sleep: a day takes a second.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/base/http.h"
#include "interrupt/sources/source.h"
#include "interrupt/timestamp.h"

namespace lastlight::scenarios {

using namespace std::chrono_literals;
using interrupt::NoticeKind;

enum class Fault { None, Hang, Slow, Unauthorized, Busy, Unavailable, Garbage, HalfBody, Refused, Forget, Skew, Lies };
inline constexpr std::size_t kFaults = 12;

struct Timed {
  HttpReply reply;
  Duration takes = 2ms;
};

class MetadataService {
 public:
  explicit MetadataService(std::string cloud) : cloud_(std::move(cloud)) {}

  std::string cloud_;
  std::optional<NoticeKind> announced;
  Instant from = kNever;  // the announcement is there from then on
  Instant until = kNever;
  Duration skew{0};  // of this service's clock
  std::function<Fault(Instant)> fault = [](Instant) { return Fault::None; };

  // What is answered to a request that arrives now.
  Timed answer(const HttpRequest& request, Instant now) {
    const Fault what = fault(now);
    if (what == Fault::Hang) return {.reply = failed("timed out"), .takes = request.timeout};
    if (what == Fault::HalfBody || what == Fault::Refused) return {.reply = failed("connection lost")};
    if (what == Fault::Unauthorized) return {.reply = say(401, "", now)};
    if (what == Fault::Busy) return {.reply = say(429, "slow down", now)};
    if (what == Fault::Unavailable) return {.reply = say(503, "", now)};
    if (what == Fault::Garbage) return {.reply = say(200, std::string("\0\xff{\"action\": ]]<html>", 21), now)};
    if (what == Fault::Forget) ++token_;
    if (what == Fault::Lies) return {.reply = lie(request, now)};
    Timed out = honest(request, now);
    if (what == Fault::Skew && skew == 0s) {
      skew = 7200s;
      out = honest(request, now);
      skew = 0s;
    }
    if (what == Fault::Slow) out.takes += 900ms;
    if (out.takes > request.timeout) return {.reply = failed("timed out"), .takes = request.timeout};
    return out;
  }

 private:
  static HttpReply failed(std::string why) { return {.status = 0, .headers = {}, .body = {}, .error = std::move(why)}; }

  static WallTime wall(Instant now) {
    return WallTime{std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()) +
                    std::chrono::hours(24 * 365 * 55)};
  }
  // "Sun, 06 Nov 1994 08:49:37 GMT"
  static std::string http_date(WallTime time) {
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const std::string iso = interrupt::format_rfc3339(time);  // 1994-11-06T08:49:37Z
    return "Sun, " + iso.substr(8, 2) + " " + kMonths[std::stoi(iso.substr(5, 2)) - 1] + " " + iso.substr(0, 4) + " " +
           iso.substr(11, 8) + " GMT";
  }
  HttpReply say(int status, std::string body, Instant now, std::vector<HttpHeader> more = {}) const {
    more.push_back({"Date", http_date(wall(now) + std::chrono::duration_cast<std::chrono::milliseconds>(skew))});
    return {.status = status, .headers = std::move(more), .body = std::move(body), .error = {}};
  }
  bool shows(NoticeKind kind, Instant now) const { return announced == kind && now >= from && now < until; }
  WallTime ends(Duration left) const {
    return wall(from) + std::chrono::duration_cast<std::chrono::milliseconds>(left + skew);
  }

  Timed honest(const HttpRequest& request, Instant now) {
    if (cloud_ == "gcp") return gcp(request, now);
    return {.reply = cloud_ == "aws" ? aws(request, now) : azure(request, now)};
  }

  HttpReply aws(const HttpRequest& request, Instant now) {
    const std::string token = "T" + std::to_string(token_);
    if (request.method == "PUT") return say(200, token, now, {{"X-aws-ec2-metadata-token-ttl-seconds", "21600"}});
    if (request.headers.empty() || request.headers[0].value != token) return say(401, "", now);
    const auto asks = [&](std::string_view path) { return request.url.ends_with(path); };
    const auto spot = [&](std::string_view action) {
      return say(
          200, R"({"action":")" + std::string(action) + R"(","time":")" + interrupt::format_rfc3339(ends(120s)) + "\"}",
          now);
    };
    if (asks("/spot/instance-action")) {
      if (shows(NoticeKind::SpotTerminate, now)) return spot("terminate");
      if (shows(NoticeKind::SpotStop, now)) return spot("stop");
      if (shows(NoticeKind::SpotHibernate, now)) return spot("hibernate");
    } else if (asks("/rebalance") && shows(NoticeKind::Rebalance, now)) {
      return say(200, R"({"noticeTime":")" + interrupt::format_rfc3339(wall(from)) + "\"}", now);
    } else if (asks("/target-lifecycle-state")) {
      return say(200, shows(NoticeKind::AsgTerminate, now) ? "Terminated" : "InService", now);
    } else if (asks("/scheduled")) {
      const bool reboot = shows(NoticeKind::Reboot, now), retires = shows(NoticeKind::Maintenance, now);
      if (!reboot && !retires) return say(200, "[]", now);
      return say(200,
                 R"([{"NotBefore":")" + http_date(ends(2h)).substr(5) + R"(","Code":")" +
                     (reboot ? "system-reboot" : "instance-retirement") +
                     R"(","Description":"","EventId":"e1","State":"active"}])",
                 now);
    } else if (asks("/history")) {
      return say(200, "[]", now);
    }
    return say(404, "", now);
  }

  HttpReply azure(const HttpRequest& request, Instant now) const {
    if (request.url.find("/compute/name?") != std::string::npos) return say(200, "vm_1", now);
    std::string events = azure_event("Preempt", "theirs", R"("vm_2","vm_11")", 30s);
    for (const auto& [kind, type] :
         {std::pair{NoticeKind::Preempt, "Preempt"}, std::pair{NoticeKind::Terminate, "Terminate"},
          std::pair{NoticeKind::Reboot, "Reboot"}, std::pair{NoticeKind::Redeploy, "Redeploy"},
          std::pair{NoticeKind::Freeze, "Freeze"}}) {
      if (shows(kind, now)) events += "," + azure_event(type, "ours", R"("vm_1")", 10min);
    }
    return say(200, R"({"DocumentIncarnation":1,"Events":[)" + events + "]}", now);
  }
  std::string azure_event(std::string type, std::string id, std::string resources, Duration left) const {
    const std::string time = from == kNever ? "Sun, 06 Nov 1994 08:49:37 GMT" : http_date(ends(left));
    return R"({"EventId":")" + id + R"(","EventStatus":"Scheduled","EventType":")" + type + R"(","Resources":[)" +
           resources + R"(],"NotBefore":")" + time + "\"}";
  }

  Timed gcp(const HttpRequest& request, Instant now) const {
    const bool preempted = request.url.find("/preempted") != std::string::npos;
    const auto value = [&](Instant at) -> std::string {
      if (preempted) return shows(NoticeKind::Preempt, at) ? "TRUE" : "FALSE";
      return shows(NoticeKind::LiveMigration, at) ? "MIGRATE_ON_HOST_MAINTENANCE"
             : shows(NoticeKind::Maintenance, at) ? "TERMINATE_ON_HOST_MAINTENANCE"
                                                  : "NONE";
    };
    Instant replies = now;
    if (const auto etag = request.url.find("last_etag="); etag != std::string::npos) {
      const auto seconds = request.url.find("timeout_sec=");
      replies = now + std::chrono::seconds(std::stoi(request.url.substr(seconds + 12)));
      if (request.url.substr(etag + 10) != value(now).substr(0, 4)) replies = now;
      for (const Instant change : {from, until}) {
        if (change > now && change < replies && value(change) != value(now)) replies = change;
      }
    }
    const std::string text = value(replies);
    return {.reply = say(200, text, replies, {{"Metadata-Flavor", "Google"}, {"ETag", text.substr(0, 4)}}),
            .takes = replies - now + 2ms};
  }

  // Looks like news of an end, and is none.
  HttpReply lie(const HttpRequest& request, Instant now) {
    ++lies_;
    if (request.method == "PUT") return say(200, "a\r\nb", now);
    if (cloud_ == "gcp") return say(200, lies_ % 2 == 0 ? "TRUE" : "PROBABLY", now);  // without Google's header
    static constexpr const char* kAws[] = {R"({"action":"terminate","time":"9999-01-01T00:00:00Z"})",
                                           R"({"action":"terminate","time":"1970-01-01T00:00:00Z"})",
                                           R"({"action":"explode","time":"2025-01-01T00:00:00Z"})",
                                           R"([{"EventId":"x","Code":"instance-stop","State":"active"}])",
                                           R"({"noticeTime":"now"})",
                                           "Terminated?"};
    if (cloud_ == "aws") return say(200, kAws[lies_ % 6], now);
    return say(200,
               lies_ % 2 == 0 ? R"({"DocumentIncarnation":9,"Events":[{"EventId":"x","EventStatus":"Scheduled",)"
                                R"("EventType":"Preempt","Resources":["vm_12"],"NotBefore":""}]})"
                              : R"({"DocumentIncarnation":9,"Events":[{"EventId":"x","EventStatus":"Scheduled",)"
                                R"("EventType":"Preempt","Resources":["vm_1"],)"
                                R"("NotBefore":"Sun, 06 Nov 9999 08:49:37 GMT"}]})",
               now);
  }

  unsigned token_ = 1;
  unsigned lies_ = 0;
};

// Runs a source against a service from `now` on.
class Clockwork {
 public:
  Clockwork(interrupt::Source& source, MetadataService& service, Instant start)
      : now(start), source_(source), service_(service) {}

  Instant now;
  interrupt::SourceEvents events;  // all of them, in order
  std::size_t most_in_flight = 0;
  std::uint64_t requests = 0;
  bool stopped = false;  // it neither waits for a reply nor has an instant to wake at

  void run(Instant end) {
    while (now < end) {
      interrupt::SourceStep step = source_.next(now);
      for (interrupt::Ask& ask : step.send) {
        Timed timed = service_.answer(ask.request, now);
        flights_.push_back({.lane = ask.lane, .sent = now, .done = now + timed.takes, .reply = std::move(timed.reply)});
        ++requests;
      }
      most_in_flight = std::max(most_in_flight, flights_.size());
      const auto next = std::ranges::min_element(flights_, {}, &Flight::done);
      const Instant reply = next == flights_.end() ? kNever : next->done;
      if (reply == kNever && step.wake == kNever) {
        stopped = true;
        return;
      }
      if (std::min(reply, step.wake) >= end) {
        now = end;
        return;
      }
      now = std::max(now, std::min(reply, step.wake));
      if (reply > now) continue;
      const Flight flight = std::move(*next);
      flights_.erase(next);
      for (interrupt::SourceEvent& event : source_.on_reply(flight.lane, flight.reply, flight.sent, now))
        events.push_back(std::move(event));
    }
  }

 private:
  struct Flight {
    unsigned lane;
    Instant sent;
    Instant done;
    HttpReply reply;
  };
  interrupt::Source& source_;
  MetadataService& service_;
  std::vector<Flight> flights_;
};

}  // namespace lastlight::scenarios
