// Sends LoopProbe's questions, one datagram each, and shows it what clients ask. Replies are not read: only whether the
// question comes in at our own door counts.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/io/file_descriptor.h"
#include "agent/io/timer.h"
#include "dnscache/loop_probe.h"

namespace lastlight {

class LoopGuard {
 public:
  // `changed`: barred() says something else of some upstream; never called from within another call.
  LoopGuard(io::Loop& loop, std::move_only_function<void()> changed);

  void set_upstreams(std::uint32_t zone, const std::string& name, const std::vector<Endpoint>& upstreams);
  bool barred(std::uint32_t zone, const Endpoint& upstream) const { return probe_.barred(zone, upstream); }
  // The size of the answer in `out` if the query was a probe of ours; 0 otherwise.
  std::size_t on_query(ByteView query, MutableByteView out);

 private:
  void on_timer();
  void send(const dns::LoopProbe::Send& probe);

  io::Loop& loop_;
  std::move_only_function<void()> changed_;
  dns::LoopProbe probe_;
  std::vector<io::FileDescriptor> sockets_;  // of the last round: a port of its own for each probe
  bool found_ = false;
  io::Timer timer_;
};

}  // namespace lastlight
