// How many requests for pods one drain has on their way at once and how long each is waited for, learned from the
// answers as TCP learns of a path: slow start while answers are quick, additive increase and multiplicative decrease
// (RFC 5681 s3.1), a time-out that doubles while nothing is answered (RFC 6298 s5.5). A server whose answers have
// become slow is busy with hundreds of nodes that end together: then only as many as it takes to be through in time, so
// that a node with few pods leaves its turn to one with many. A request that is given up and sent again was work for
// nothing: without this a busy API server does nothing else. Pure; owns neither requests nor time.
#pragma once

#include <algorithm>
#include <cstddef>

#include "agent/base/time.h"

namespace lastlight::interrupt {

class Congestion {
 public:
  static constexpr std::size_t kFirst = 2;   // requests at once before anything was answered
  static constexpr std::size_t kLeast = 2;   // one that hangs leaves room for another
  static constexpr std::size_t kBehind = 2;  // times the most at once, for a drain that would be late
  // Of 200 nodes that end together before a server of two processors the last to be answered waits 4 to 7 s. It lets
  // nobody wait in its queue for more than 15 s.
  static constexpr Duration kPatience = std::chrono::seconds(10);
  static constexpr unsigned kDoublings = 4;
  static constexpr Duration kQuick = std::chrono::milliseconds(500);  // a server that answers later has others waiting
  static constexpr int kFar = 2;    // times the quickest answer: that is the way there, not the server
  static constexpr int kHangs = 2;  // times the slowest answer

  explicit Congestion(std::size_t most);  // at once, unless a pod would be late

  void answered(Duration took);
  void answered_for_pod(Duration took);  // an eviction or a DELETE
  // No answer, or one that says that there is too much to do. Those of one round count once.
  void lost(Instant asked, Instant now);

  // `needed`: the answers a second with which a drain is through in time; `unanswered`: for how long its oldest request
  // has been.
  std::size_t room(double needed, Duration unanswered) const;
  Duration patience() const;                     // with one request
  Duration slowest() const { return slowest_; }  // of the answers
  Duration usual() const { return usual_; }      // for pods, smoothed as a round-trip time is (RFC 6298 s2)

 private:
  double most_;
  double room_;  // of a server that is quick, or far
  bool slow_start_ = true;
  Duration slowest_{};  // zero: nothing has been answered
  Duration usual_{};
  Duration fastest_ = Duration::max() / kFar;
  unsigned given_up_ = 0;  // rounds since the last answer
  Instant reduced_{};
};

}  // namespace lastlight::interrupt
