// How many requests of one drain are on their way at once and how long each is waited for, learned from the answers as
// TCP learns of a path: additive increase and multiplicative decrease (RFC 5681 s3.1), a time-out that doubles while
// nothing is answered (RFC 6298 s5.5). Hundreds of nodes end together, and a request that is given up and sent again
// was work for nothing: without this a busy API server does nothing else. Pure; owns neither requests nor time.
#pragma once

#include <cstddef>

#include "agent/base/time.h"

namespace lastlight::interrupt {

class Congestion {
 public:
  static constexpr std::size_t kFirst = 4;  // requests at once before anything was answered
  static constexpr std::size_t kLeast = 2;  // one that hangs leaves room for another
  static constexpr Duration kPatience = std::chrono::seconds(5);
  static constexpr unsigned kDoublings = 4;

  explicit Congestion(std::size_t most);

  void answered(Duration took);
  // No answer, or one that says that there is too much to do. Those of one round count once.
  void lost(Instant asked, Instant now);

  std::size_t room() const { return static_cast<std::size_t>(room_); }
  Duration patience() const;                     // with one request
  Duration slowest() const { return slowest_; }  // of the answers

 private:
  double most_;
  double room_;
  Duration slowest_{};
  unsigned given_up_ = 0;  // rounds since the last answer
  Instant reduced_{};
};

}  // namespace lastlight::interrupt
