// Is a zone's upstream silent? Silent from when a question stayed unanswered past its patience, or failed, and nothing
// at all was answered since it was asked, nor in the last second; until the next answer. A slow name beside others that
// are answered is no outage; one alone looks like it until its answer comes, and costs the freshness of what expires
// meanwhile. While it is silent expired answers are served at once, and one of them a second is asked again to find
// out.
#pragma once

#include "agent/base/time.h"

namespace lastlight::dns {

class Outage {
 public:
  static constexpr Duration kSilence = std::chrono::seconds(1);
  static constexpr Duration kTryEvery = std::chrono::seconds(1);

  void answered(Instant now) {
    last_answer_ = now;
    if (silent_) recovered_ = now;
    silent_ = false;
  }
  void unanswered(Instant asked, Instant now) {
    silent_ = silent_ || (asked >= last_answer_ && now - last_answer_ >= kSilence);
  }

  bool silent() const { return silent_; }
  // Whether a question asked then and unanswered says nothing about its name.
  bool excuses(Instant asked) const { return silent_ || asked < recovered_; }
  // Whether a question that nobody waits for may be asked; true once per kTryEvery while silent.
  bool may_try(Instant now) {
    if (!silent_) return true;
    if (now < next_try_) return false;
    next_try_ = now + kTryEvery;
    return true;
  }

 private:
  Instant last_answer_{};
  Instant recovered_{};
  Instant next_try_{};
  bool silent_ = false;
};

}  // namespace lastlight::dns
