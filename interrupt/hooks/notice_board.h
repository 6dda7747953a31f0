// What pods are told when they ask: GET /interruption, answered at once or, with ?wait=60s, when something changes.
// Pure: the shell owns the connections and hands the answers over.
//
//   200  {"kind", "action", "source", "code", "id", "deadline", "secondsLeft"} of the most urgent notice, with an ETag
//   204  no notice, also when a wait has passed without one
//   304  a wait has passed, and the notice of the request's If-None-Match is still the one
//   503  too many wait already, with Retry-After
//
// A request that waits is answered at once unless it knows the present state: without If-None-Match it is taken to know
// of no notice. Bounds: kMaxWaiters in all, kMaxPerClient of one address, kMaxWait each.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/http.h"
#include "interrupt/notice.h"

namespace lastlight::interrupt {

struct NoticeBoardCounters {
  std::uint64_t requests = 0;
  std::uint64_t waited = 0;          // requests that had to wait
  std::uint64_t told = 0;            // waiters answered because something changed
  std::uint64_t refused_full = 0;    // 503: kMaxWaiters
  std::uint64_t refused_client = 0;  // 503: kMaxPerClient
  std::uint64_t waiters = 0;         // now
};

class NoticeBoard {
 public:
  using WaiterId = std::uint64_t;
  static constexpr std::size_t kMaxWaiters = 2048;
  static constexpr std::size_t kMaxPerClient = 16;
  static constexpr Duration kMaxWait = std::chrono::seconds(60);
  static constexpr std::size_t kMaxNotices = 16;

  // The reply, or none: `id` waits, and will be among those that change or expire, unless gone() comes first.
  std::optional<HttpReply> on_request(const HttpRequest& request, const IpAddress& client, WaiterId id, Instant now,
                                      WallTime wall);
  void gone(WaiterId id);

  // Who must be answered now, by reply(). A restated notice changes nothing, unless its deadline moved.
  std::vector<WaiterId> on_notice(const Notice& notice);
  std::vector<WaiterId> on_withdrawn(const Withdrawn& withdrawn);
  std::vector<WaiterId> expire(Instant now);
  Instant wake() const { return by_end_.empty() ? kNever : by_end_.begin()->first; }

  // The state as it is: 200 or 204. To one whose wait has passed and who knows it by `known`, 304.
  HttpReply reply(Instant now, WallTime wall, std::string_view known = {}) const;

  std::string etag() const;  // of what the notice says, so that it survives a restart of the agent

  const NoticeBoardCounters& counters() const { return counters_; }

 private:
  struct Waiter {
    IpAddress client;
    Instant end;
  };
  std::vector<WaiterId> changed();
  void forget(WaiterId id);
  const Notice* most_urgent() const;

  std::vector<Notice> notices_;
  std::map<WaiterId, Waiter> waiters_;
  std::set<std::pair<Instant, WaiterId>> by_end_;
  std::map<IpAddress, std::size_t> by_client_;
  NoticeBoardCounters counters_;
};

}  // namespace lastlight::interrupt
