// What the three clouds' replies have in common: how long is left by the service's own clock, what stands announced,
// and the back-off of a lane. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/base/backoff.h"
#include "agent/base/http.h"
#include "agent/config.h"
#include "interrupt/sources/source.h"

namespace lastlight::interrupt {

inline constexpr std::uint64_t kMaxMetadataBody = 64U << 10;

struct Deadline {
  Instant at;
  bool assumed = false;
};

// The service's own clock, in the same reply, says how long is left until `end`; ours is not asked. `lead` is taken
// when the reply has no Date; none: such a reply is out of range. So is a time more than `farthest` away, or more than
// an hour ago. One that has passed since is believed on first sight, because hibernation comes without lead time: then
// kOverdue is what is left.
std::optional<Deadline> deadline_of(const HttpReply& reply, WallTime end, Instant sent, std::optional<Duration> lead,
                                    Duration farthest);

Deadline overdue(Instant sent);

// GET of `path`; the timeout is that of the configuration.
HttpRequest metadata_request(const InterruptionConfig& config, std::string url);

// What one path announces. An id is announced once, again when its revision changes, and withdrawn by kAbsent readable
// replies in a row without it: one stray "nothing" must not undo a drain. What has ended is not announced again.
class Announced {
 public:
  static constexpr std::size_t kMax = 32;
  static constexpr unsigned kAbsent = 3;

  struct Present {
    Notice notice;
    std::string revision = {};  // empty: no change worth telling
  };

  // A whole readable reply.
  void saw(std::vector<Present> present, Instant sent, Instant now, SourceEvents& out, SourceCounters& counters);
  // A reply that says nothing interrupts a row of absences.
  void unsure();
  // The cloud says that it is over.
  void ended(std::string_view id, std::string_view why, SourceEvents& out);

  bool empty() const { return standing_.empty(); }
  bool doubted() const;  // something stands that the last reply did not have
  bool has(std::string_view id) const;

 private:
  struct Standing {
    std::string id;
    std::string revision;
    unsigned absent = 0;
    bool present = true;  // in the reply that is being read
  };
  std::vector<Standing> standing_;  // at most kMax
  std::vector<std::string> ended_;  // the last kMax that the cloud called over
  std::optional<Instant> unseen_;
};

// A lane's grid and back-off. At most one request in flight.
class Lane {
 public:
  Lane(const InterruptionConfig& config, Uniform& uniform) : config_(config), uniform_(uniform) {}

  bool open() const { return open_; }  // a poll has begun and has no outcome yet
  bool ready(Instant now) const { return !busy_ && now >= due_; }
  Instant due() const { return busy_ ? kNever : due_; }
  unsigned failures() const { return failures_; }
  void start(Instant at) { due_ = at; }

  void sent(Instant now);  // a poll, or the next request of the same poll
  void replied() { busy_ = false; }
  void again(Instant now) { due_ = now; }  // the same poll goes on
  void succeeded(Instant now, Duration period);
  void failed(Instant now);

 private:
  const InterruptionConfig& config_;
  Uniform& uniform_;
  bool busy_ = false;
  bool open_ = false;
  Instant began_{};  // the period is kept from here
  Instant due_{};
  unsigned failures_ = 0;
};

}  // namespace lastlight::interrupt
