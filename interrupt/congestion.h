// How many requests of one drain are on their way at once and how long each is waited for, learned from the answers as
// TCP learns of a path: slow start while answers are quick, additive increase and multiplicative decrease (RFC 5681
// s3.1), a time-out that doubles while nothing is answered (RFC 6298 s5.5). Hundreds of nodes end together, and a
// request that is given up and sent again was work for nothing: without this a busy API server does nothing else. Pure;
// owns neither requests nor time.
#pragma once

#include <cstddef>

#include "agent/base/time.h"

namespace lastlight::interrupt {

class Congestion {
 public:
  static constexpr std::size_t kFirst = 2;  // requests at once before anything was answered
  static constexpr std::size_t kLeast = 2;  // one that hangs leaves room for another
  // With a server that has answered; twice that before. Of 200 nodes that end together before one that serves 80 to 150
  // requests a second the last to be answered waits 4 to 9 s.
  static constexpr Duration kPatience = std::chrono::seconds(5);
  static constexpr unsigned kDoublings = 4;
  static constexpr Duration kQuick = std::chrono::milliseconds(500);  // a server that answers later has others waiting

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
  bool slow_start_ = true;
  Duration slowest_{};     // zero: nothing has been answered
  unsigned given_up_ = 0;  // rounds since the last answer
  Instant reduced_{};
};

}  // namespace lastlight::interrupt
