// When may DNS stop? Pure: told of signals and of what is owed to clients (questions in flight, connections with
// answers that are not yet sent), it answers what to do at an instant. After a SIGTERM the agent reads no new question,
// and leaves once nothing is owed or the grace has passed; a second SIGTERM ends it at once.
#pragma once

#include <cstddef>

#include "agent/base/time.h"

namespace lastlight {

class Leaving {
 public:
  enum class Step {
    Stay,   // serve as ever
    Drain,  // told to leave: read no new questions, pay what is owed
    Exit,   // nothing is owed any more, or the grace is over
  };

  explicit Leaving(Duration grace) : grace_(grace) {}

  void on_terminate(Instant now);
  Step decide(std::size_t owed, Instant now) const;
  // When decide() may change without an event; kNever while nobody asked us to leave.
  Instant deadline() const { return deadline_; }
  bool asked() const { return asks_ > 0; }

 private:
  Duration grace_;
  Instant deadline_ = kNever;
  int asks_ = 0;
};

}  // namespace lastlight
