// Whom to tell what, and when: notices and the drain's facts in, deliveries to webhooks and commands out. Pure; the
// shell (interrupt/messenger) sends, runs and reports back.
//
// It owns one Outbox per receiver and the batching: refused pods are gathered for kBatch, progress is told at most once
// per interval and only when something changed. It never decides anything about the drain but one thing: whether its
// first evictions may wait (`hold`) for a receiver that asked for it, at most a quarter of the time left.
//
// An event is repeated until the notice's deadline, at least for kLinger (the node may outlive its notice) and at most
// for kMaxLife.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "interrupt/drain.h"
#include "interrupt/hooks/event.h"
#include "interrupt/hooks/outbox.h"

namespace lastlight::interrupt {

struct Receiver {
  std::string name;
  std::vector<Phase> phases;
  Duration hold{};    // how long the first evictions may wait for its answer to `notice`; 0: they do not
  bool once = false;  // a command: its failure is not repeated
};

struct Delivery {
  std::uint64_t id = 0;
  std::size_t receiver = 0;  // index
  HookEvent event;
};

struct HooksStep {
  std::vector<Delivery> deliveries;
  Instant wake = kNever;  // call advance() then at the latest
};

class Hooks {
 public:
  static constexpr Duration kBatch = std::chrono::seconds(1);
  static constexpr Duration kLinger = std::chrono::seconds(30);
  static constexpr Duration kMaxLife = std::chrono::hours(1);
  static constexpr std::size_t kMaxNotices = 16;  // active at once; those beyond are told of all the same

  // `margin`: pods that were not told so long before the deadline make the drain `failed`.
  Hooks(std::vector<Receiver> receivers, Duration progress_interval, Duration margin, Uniform uniform);

  void on_notice(const Notice& notice, Instant now);
  void on_withdrawn(const Withdrawn& withdrawn, Instant now);
  void on_fact(const Fact& fact, Instant now);
  void on_result(std::uint64_t id, Outbox::Outcome outcome, Duration at_least, Instant now);
  HooksStep advance(const PodCounts& pods, Instant now);

  // Evictions may wait until then; none when nobody holds them (any more).
  std::optional<Instant> hold(Instant now) const;

  const std::vector<Receiver>& receivers() const { return receivers_; }
  const OutboxCounters& counters(std::size_t receiver) const { return outboxes_[receiver].counters(); }

 private:
  struct Ongoing {  // the drain that is told of
    Notice notice;
    bool started_told = false;
    bool ended = false;    // drained or failed was told, or it was withdrawn
    bool dirty = false;    // something changed since the last event
    bool at_once = false;  // and is worth telling without waiting
    Instant progress_due{};
    std::vector<std::string> refused;  // not yet told
    std::uint64_t more_refused = 0;
    Instant refused_due = kNever;
    PodCounts pods;
  };
  void tell(Phase phase, const Notice& notice, Instant now);
  void tell(HookEvent event, Instant now);
  void tell_drain(const PodCounts& pods, Instant now);
  void tell_refused(Instant now);
  Instant drain_wake(Instant now) const;

  const std::vector<Receiver> receivers_;
  const Duration progress_interval_;
  const Duration margin_;
  Uniform uniform_;

  std::vector<Outbox> outboxes_;                                      // by receiver
  std::map<std::uint64_t, std::pair<std::size_t, Phase>> under_way_;  // by delivery
  std::vector<std::optional<Instant>> holds_;                         // by receiver
  std::vector<Notice> notices_;                                       // active
  std::optional<Ongoing> drain_;
  bool drained_ = false;  // the drain's own word
  std::uint64_t last_delivery_ = 0;
  std::uint64_t last_sequence_ = 0;
};

}  // namespace lastlight::interrupt
