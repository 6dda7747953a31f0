// How long one upstream takes to answer: a histogram of recent answers, four buckets an octave, halved whenever it is
// full, so that a change of the upstream is learned within some thousand answers. Pure, fixed size.
//
// p99() is when most answers have come. As a few slow names may own the last hundredth and more (an ExternalName whose
// target takes seconds), two times are bounded by the median too, which they cannot move: patience(), when an answer is
// unusual enough to stop queueing behind it, and hedge(), when a second attempt is worth its cost.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "agent/base/time.h"

namespace lastlight::dns {

class LearnedLatency {
 public:
  static constexpr std::uint32_t kEnough = 16;                      // answers; until then the guesses below
  static constexpr std::uint32_t kFull = 2048;                      // answers; then all counts are halved
  static constexpr Duration kLeast = std::chrono::milliseconds(4);  // below it, a busy machine's scheduling is measured
  static constexpr Duration kGuessedMedian = std::chrono::milliseconds(25);
  static constexpr Duration kGuessedP99 = std::chrono::milliseconds(200);
  static constexpr int kMedians = 8;                                      // patience in medians
  static constexpr Duration kLeastHedge = std::chrono::milliseconds(50);  // of the hedge's bound by the median

  void add(Duration taken);
  bool known() const { return count_ >= kEnough; }
  Duration median() const { return median_; }
  Duration p99() const { return p99_; }
  Duration patience() const;
  Duration hedge() const { return std::min(p99_, std::max(kMedians * median_, kLeastHedge)); }
  // How long a connection may take to come about: a round trip, of which an answer takes one as well.
  Duration connect() const { return std::max(kMedians * median_, kLeastHedge); }

 private:
  static constexpr std::size_t kBuckets = 96;  // from 2^14 ns (16 us) to 2^38 ns
  Duration quantile(double q) const;

  std::array<std::uint32_t, kBuckets> buckets_{};
  std::uint32_t count_ = 0;
  std::uint32_t since_read_ = 0;
  Duration median_ = kGuessedMedian;
  Duration p99_ = kGuessedP99;
};

}  // namespace lastlight::dns
