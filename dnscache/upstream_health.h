// Whether one upstream answers, judged by real traffic alone: a breaker that opens after two failures in a row with
// nothing heard between, and is closed by any reply. While it is open one question at a time probes it, later and later
// (RFC 9520 s3.2: back-off).
//
// A refusal of what was heard lately is one backend's of an address, as likely as not: it takes four to open, and as
// they cost next to nothing they are probes at a steady pace for as long as it is lately. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "agent/base/time.h"

namespace lastlight::dns {

class UpstreamHealth {
 public:
  static constexpr std::uint32_t kFailures = 2;  // one lost datagram is no outage
  static constexpr std::uint32_t kRefusals = 4;
  static constexpr Duration kLately = std::chrono::seconds(2);
  static constexpr Duration kRefusalProbation = std::chrono::milliseconds(50);
  static constexpr Duration kFirstProbation = std::chrono::milliseconds(250);
  static constexpr Duration kLongestProbation = std::chrono::seconds(8);
  static constexpr Duration kOnlyChance = std::chrono::milliseconds(500);  // longest, when no other upstream is left

  bool down() const { return down_; }
  Instant heard() const { return heard_; }
  bool spoke_lately(Instant now) const { return heard_ + kLately >= now; }

  void on_reply(Instant now) {
    heard_ = now;
    failures_ = 0;
    down_ = false;
  }
  // Of something sent at `sent`: who was heard since then speaks, and the question was the slow one. True: down now.
  bool on_failure(Instant sent, bool refused, Instant now) {
    if (heard_ >= sent) return false;
    refused_ = refused;
    if (down_) return false;
    if (++failures_ < (refused && spoke_lately(now) ? kRefusals : kFailures)) return false;
    down_ = true;
    probed_ = now;
    probation_ = kFirstProbation;
    return true;
  }
  Instant next_probe(bool no_other) const {
    if (!no_other) return probed_ + probation_;
    if (refused_ && spoke_lately(probed_)) return probed_ + kRefusalProbation;
    return probed_ + std::min(probation_, kOnlyChance);
  }
  void on_probe(Instant now) {
    probed_ = now;
    if (!refused_ || !spoke_lately(now)) probation_ = std::min(probation_ * 2, kLongestProbation);
  }

 private:
  std::uint32_t failures_ = 0;  // in a row
  bool down_ = false;
  bool refused_ = false;  // the last failure
  Duration probation_{};
  Instant probed_{};
  Instant heard_ = Instant::min();
};

}  // namespace lastlight::dns
