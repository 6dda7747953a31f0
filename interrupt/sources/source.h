// What every cloud's source is: a state machine that says which requests to send next and what a reply means. It opens
// nothing, reads no clock and never ends: any error, hang or garbage costs one back-off and is counted. A request goes
// out on a lane; a lane has at most one in flight, and each `send` gets exactly one on_reply (a time-out is a reply
// with status 0). At most kLanes requests, so at most as many connections.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "agent/base/http.h"
#include "agent/base/time.h"
#include "interrupt/notice.h"

namespace lastlight::interrupt {

struct Ask {
  unsigned lane = 0;
  HttpRequest request;
};

struct SourceStep {
  std::vector<Ask> send;
  Instant wake = kNever;  // call next() again then, or after on_reply
};

// `source: auto` has made up its mind.
struct Found {
  std::string source;  // "none" while nobody answers
  std::string why;     // what each cloud's service said
};

using SourceEvent = std::variant<Notice, Withdrawn, Found>;
using SourceEvents = std::vector<SourceEvent>;

enum class Diagnosis {
  None,
  // The PUT hangs while the GET answers 401: the token's reply is dropped on its way because the instance's
  // HttpPutResponseHopLimit is smaller than the hops to this pod.
  HopLimit,
  V1Only,    // no token is to be had, and the items answer without one, which the configuration does not allow
  Disabled,  // 403: the service is off for this instance, or this caller is not allowed
  Warming,   // Azure enables Scheduled Events on the first call, which takes up to two minutes
};

struct SourceCounters {
  std::uint64_t requests = 0;
  std::uint64_t polls_ok = 0;        // a readable reply, "nothing" included
  std::uint64_t polls_failed = 0;    // everything else
  std::uint64_t silent = 0;          // no reply at all
  std::uint64_t unauthorized = 0;    // 401
  std::uint64_t unreadable = 0;      // 200 with a body that is not what was asked for
  std::uint64_t out_of_range = 0;    // a time long past or absurdly far: left standing, or a lie
  std::uint64_t others = 0;          // events that do not name this machine
  std::uint64_t over_bound = 0;      // announcements beyond Announced::kMax
  std::uint64_t tokens = 0;          // granted
  std::uint64_t token_failures = 0;  // PUTs without a token in the reply
};

class Source {
 public:
  static constexpr unsigned kLanes = 2;

  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  virtual std::string_view name() const = 0;
  virtual SourceStep next(Instant now) = 0;
  virtual SourceEvents on_reply(unsigned lane, const HttpReply& reply, Instant sent, Instant now) = 0;
  // Everything is done on this node: where the cloud waits for it, it may start what it announced.
  virtual void may_start(std::string_view id) { static_cast<void>(id); }

  // Counters never go back, though another source takes over.
  void count_from(const SourceCounters& counters) { counters_ = counters; }

  virtual std::optional<Instant> last_success() const { return last_success_; }
  virtual Diagnosis diagnosis() const { return diagnosis_; }
  virtual const SourceCounters& counters() const { return counters_; }

 protected:
  std::optional<Instant> last_success_;
  Diagnosis diagnosis_ = Diagnosis::None;
  SourceCounters counters_;
};

}  // namespace lastlight::interrupt
