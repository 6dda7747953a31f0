// How many packets may go to guarded upstreams: a cloud's resolver drops what one interface sends beyond a limit (AWS:
// 1024 packets a second to all link-local services together), silently. A token bucket below that limit, shared with
// the metadata service, whose polls are never held back but use up what DNS may send. Pure; whoever asks queues.
#pragma once

#include <cstdint>

#include "agent/base/time.h"

namespace lastlight::dns {

struct PaceCounters {
  std::uint64_t packets = 0;           // let through
  std::uint64_t metadata_packets = 0;  // told of
};

class Pace {
 public:
  // Packets as the interface sends them. A connection is SYN, ACK and later FIN, ACK; each question over it is a
  // segment and the acknowledgement of the answer.
  static constexpr std::uint32_t kUdpQuestion = 1;
  static constexpr std::uint32_t kTcpQuestion = 2;
  static constexpr std::uint32_t kTcpConnection = 4;

  // In any second at most a tenth more than `per_second` goes out.
  explicit Pace(std::uint32_t per_second);

  bool take(std::uint32_t packets, Instant now);
  // Of the metadata service: they have been sent, whatever the pace.
  void spend(std::uint32_t packets, Instant now);
  // When take() could succeed, if nobody else takes.
  Instant ready_at(std::uint32_t packets, Instant now) const;
  // How long `packets` take at this pace.
  Duration time_for(std::uint64_t packets) const { return each_ * static_cast<std::int64_t>(packets); }
  const PaceCounters& counters() const { return counters_; }

 private:
  // The bucket as one instant: when it would be full. Taking a packet moves it on by `each_`.
  Duration each_;
  Duration depth_;
  Instant full_at_{};
  PaceCounters counters_;
};

}  // namespace lastlight::dns
