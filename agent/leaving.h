// When may DNS stop? Pure: told of signals, of the node and of what is owed to clients, it answers what to do at an
// instant. After a SIGTERM: at once where a successor serves; while the node is being drained and pods that need names
// are left, it serves as ever (leaving last); then it gives the node's queries back, answers those already here, reads
// no new one, and leaves once nothing is owed or the grace has passed. A second SIGTERM ends it at once.
#pragma once

#include <cstddef>

#include "agent/base/time.h"

namespace lastlight {

class Leaving {
 public:
  enum class Step {
    Stay,     // serve as ever
    Release,  // give the node's queries back; go on reading those that still come
    Drain,    // read no new questions, pay what is owed
    Exit,     // nothing is owed any more, or the grace is over
  };
  enum class Pods {
    None,     // nobody waits for us: the node stays, its pods have left, or nothing could be learned
    Unknown,  // being asked
    Some,     // the node is being drained, and pods that need names are on it
  };
  struct Facts {
    Pods pods = Pods::None;
    bool succeeded = false;   // a successor serves
    bool taken_over = false;  // queries are sent our way by a lease of ours
    std::size_t owed = 0;     // questions in flight, connections with answers not yet sent
  };

  // `last`: how long pods may keep us after a SIGTERM. `grace`: for what comes after.
  Leaving(Duration grace, Duration last) : grace_(grace), last_(last) {}

  void on_terminate(Instant now);
  Step decide(const Facts& facts, Instant now);
  bool asked() const { return asks_ > 0; }

  static constexpr Duration kPatience = std::chrono::seconds(2);        // for what is Unknown
  static constexpr Duration kLameDuck = std::chrono::milliseconds(50);  // between the lease's end and the last read

 private:
  bool pods_keep_us(Pods pods, Instant now) const;

  Duration grace_;
  Duration last_;
  int asks_ = 0;
  Instant asked_ = kNever;
  Instant leaving_ = kNever;   // nobody keeps us any more
  Instant released_ = kNever;  // the last instant at which queries were sent our way by a lease
};

}  // namespace lastlight
