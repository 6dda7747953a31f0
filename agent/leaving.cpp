#include "agent/leaving.h"

namespace lastlight {

void Leaving::on_terminate(Instant now) {
  if (asks_++ == 0) deadline_ = now + grace_;
}

Leaving::Step Leaving::decide(std::size_t owed, Instant now) const {
  if (asks_ == 0) return Step::Stay;
  if (asks_ > 1 || owed == 0 || now >= deadline_) return Step::Exit;
  return Step::Drain;
}

}  // namespace lastlight
