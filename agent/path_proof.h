// Does a query to an address of ours arrive at our own socket? Each probe is a name nobody can guess below `localhost`
// (RFC 6761 s6.3: answered here, so a dead upstream changes nothing). Shown every query that a client sends and every
// answer to a probe, it tells an answer of ours from one that somebody else gave: under an eBPF dataplane that
// translates a Service's address before the kernel routes it, our rules and sockets never see the query. Silence proves
// nothing. Pure: the caller sends, receives, and says when the takeover is in force.
#pragma once

#include <array>
#include <cstdint>

#include "agent/base/bytes.h"

namespace lastlight {

class PathProof {
 public:
  static constexpr unsigned kElsewhere = 3;  // answers of somebody else in a row: a handover's two readers cause one
  static constexpr std::size_t kRandom = 17;

  // The next probe; `random`: for its name and its ID.
  ByteView next(const std::array<std::uint8_t, kRandom>& random);
  // A query that came in at our door: the probe that is out?
  bool on_query(ByteView query);
  // An answer that the probing socket received. True: to the probe that is out, and of ours. `in_force`: the address is
  // taken over at this moment, so that nobody else should have answered.
  bool on_answer(ByteView answer, bool in_force);
  bool bypassed() const { return elsewhere_ >= kElsewhere; }

  // What every probe begins with, so that other queries cost one comparison.
  static bool maybe(ByteView query) { return query.size() == kSize && query[12] == kLabel; }

 private:
  static constexpr std::uint8_t kLabel = 30;
  static constexpr std::size_t kSize = 12 + 1 + kLabel + 11 + 4;

  bool is_about(ByteView message) const;

  std::array<std::uint8_t, kSize> query_{};
  bool out_ = false;
  bool arrived_ = false;
  unsigned elsewhere_ = 0;  // in a row
};

}  // namespace lastlight
