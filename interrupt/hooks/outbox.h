// What one receiver (a webhook or a command) has still to be told: events in the order they happened, one under way at
// a time, each repeated with back-off until it was taken or its time is over. Pure.
//
// Bounds: kMaxEvents wait. While the receiver is away, a newer progress replaces the older one and refused pods join
// the event that waits; beyond that the oldest progress goes, then the oldest of all, and is counted as lost.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "agent/base/backoff.h"
#include "interrupt/hooks/event.h"

namespace lastlight::interrupt {

struct OutboxCounters {
  std::uint64_t delivered = 0;
  std::uint64_t failed_tries = 0;
  std::uint64_t refused = 0;  // the receiver will not have this message, whatever we do
  std::uint64_t expired = 0;  // not delivered in time
  std::uint64_t lost = 0;     // at the bound
};

class Outbox {
 public:
  static constexpr std::size_t kMaxEvents = 32;
  static constexpr unsigned kTriesOfRefused = 3;
  static constexpr Duration kRetryMin = std::chrono::milliseconds(500);
  static constexpr Duration kRetryMax = std::chrono::seconds(5);

  enum class Outcome {
    Delivered,
    Failed,   // try again
    Refused,  // try again a few times: the fault is in the message, and those behind it wait
    GivenUp,  // never again
  };

  void push(HookEvent event, Instant expires, Instant now);
  // The event to send now, if there is one; it is under way until done().
  std::optional<HookEvent> next(Instant now);
  // `at_least`: the receiver asked to be left alone so long; at most kRetryMax is heeded.
  void done(Outcome outcome, Duration at_least, Instant now, double uniform);
  Instant wake(Instant now) const;  // when next() may have something; kNever while one is under way or none waits

  bool has(Phase phase) const;  // waits or is under way
  std::size_t size() const { return waiting_.size(); }
  const OutboxCounters& counters() const { return counters_; }

 private:
  struct Entry {
    HookEvent event;
    Instant expires;
  };
  bool join(const HookEvent& event, Instant expires);
  void make_room();
  void pop();

  std::deque<Entry> waiting_;  // the first is under way while `sending_`
  bool sending_ = false;
  unsigned failures_ = 0;  // of the first
  Instant next_try_{};
  OutboxCounters counters_;
};

}  // namespace lastlight::interrupt
