// Keeps the takeover in place while we serve: has the privileged child raise it, renews the lease from the serving
// loop, and has it repaired when a renewal fails: the rule set or an address is gone, or a link is down. Noticed within
// one renewal, and at once when told that the node's addresses changed; nftables' events, which kube-proxy floods, are
// not listened to. Changes nothing of the node itself, answers no query.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "agent/base/backoff.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "dnscache/takeover/plan.h"

namespace lastlight {

struct TakeoverCounters {
  std::uint64_t raised = 0;    // the child did what it was told
  std::uint64_t failed = 0;    // the child failed
  std::uint64_t repaired = 0;  // it was needed again
};

class Takeover {
 public:
  enum class State {
    Off,       // not asked for
    Raising,   // the child has not succeeded yet
    Held,      // the last renewal was taken
    Bypassed,  // likewise, but queries do not come to us: somebody else answers them
    Lost,      // it was not: queries go kube-proxy's way
    Released,  // given up by us
    Standby,   // a successor's
  };
  struct Calls {
    std::move_only_function<bool()> renew;                                  // of every address; false: not all
    std::move_only_function<bool(std::span<const std::string>)> run_child;  // on_child_done() follows, unless false
    std::move_only_function<void(State)> changed;
  };

  Takeover(io::Loop& loop, Calls calls);

  // Again with another plan (a second address family became known): it is raised anew.
  void start(dns::TakeoverPlan plan);
  void on_child_done(int exit_code);
  // Addresses or links of the node changed: is the lease still taken?
  void check();
  // Whether somebody else answers at our addresses while the lease is held.
  void set_bypassed(bool bypassed);
  // A successor renews the lease; or it is gone, and it is ours to raise.
  void standby(bool waiting);
  // Ends the lease: by silence at once where the rules are asked to, at its end otherwise.
  void release();

  State state() const { return state_; }
  bool renewed() const { return state_ == State::Held || state_ == State::Bypassed; }
  // The node's queries may still be sent our way.
  bool intercepting() const {
    return state_ != State::Off && state_ != State::Standby && !(state_ == State::Released && children_ == 0);
  }
  const TakeoverCounters& counters() const { return counters_; }
  static std::string_view name(State state);

 private:
  void turn();
  void run_child(const char* verb);
  void set(State state);

  static constexpr int kRenewals = 6;  // per lease: five may be lost or late
  static constexpr Duration kChildPatience = std::chrono::seconds(30);
  static constexpr Duration kFirstRetry = std::chrono::milliseconds(500);
  static constexpr Duration kLongestRetry = std::chrono::seconds(30);

  io::Loop& loop_;
  Calls calls_;
  dns::TakeoverPlan plan_;
  State state_ = State::Off;
  bool bypassed_ = false;
  unsigned children_ = 0;  // asked for and not done: one, or two while releasing
  Instant child_due_{};    // it may be run again
  Duration retry_ = kFirstRetry;
  TakeoverCounters counters_;
  io::Timer timer_;
};

}  // namespace lastlight
