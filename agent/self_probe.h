// A query to ourselves, over a real UDP socket and the real listener, every few seconds: what /readyz believes. The
// name is `localhost`, which is answered here (RFC 6761 s6.3), so a dead upstream does not make us unready.
#pragma once

#include <cstdint>
#include <optional>

#include "agent/base/address.h"
#include "agent/io/file_descriptor.h"
#include "agent/io/poll.h"
#include "agent/io/timer.h"

namespace lastlight {

class SelfProbe {
 public:
  static constexpr Duration kInterval = std::chrono::seconds(5);

  // A socket that cannot be opened is a probe without an answer; the next one tries again.
  SelfProbe(io::Loop& loop, const Endpoint& target);
  std::optional<Instant> last_answer() const { return last_answer_; }

 private:
  bool open();
  void send();
  void receive();

  io::Loop& loop_;
  const Endpoint target_;
  io::FileDescriptor socket_;
  std::optional<io::Poll> poll_;  // goes before the socket it watches
  io::Timer timer_;
  std::uint16_t id_ = 0;
  std::optional<Instant> last_answer_;
};

}  // namespace lastlight
