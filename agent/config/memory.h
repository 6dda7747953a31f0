// Whether what the configuration asks for fits into the memory the agent is given (the cgroup's memory.max), and what
// it gets when it does not. Of the limit L, an eighth stays free; fixed are the program, two times dns.receive-buffer
// for each UDP socket (the kernel counts its own bookkeeping), and dns.max-flights. The rest is for the cache, the
// buffers of client connections and the connections themselves: as configured where that fits, otherwise cut in the
// same proportion,
//
//   share = (L - L/8 - program - sockets - flights) / (cache-size + tcp-buffers + connections * kConnection)
//
// but never below a sixteenth. A pure function; whoever starts the agent reads the limit.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/config.h"

namespace lastlight {

struct MemoryPlan {
  // The worker and its supervisor beside the cache: 4 MiB idle, a drain and its connections, 2,048 pods that wait for
  // the notice.
  static constexpr Bytes kProgram = mib(16);
  // Of a question in flight: ours and the transport's tables, and four clients that wait.
  static constexpr Bytes kFlight = kib(3);
  // Of a client connection: 16 KiB of kernel buffer each way (agent/io/tcp.cpp), which one that does not read fills for
  // tcp-write-timeout, the kernel's structures and ours. Its unread answers beside that count as tcp-buffers.
  static constexpr Bytes kConnection = kib(40);
  static constexpr double kLeast = 1.0 / 16;

  std::optional<Bytes> limit;
  Bytes sockets, flights;  // beside kProgram
  double share = 1;        // of what was asked for
  bool fits = true;        // false: even the least does not
  Bytes cache, tcp_buffers;
  std::uint32_t tcp_connections = 0, tcp_per_client = 0;

  Bytes total() const;
};

MemoryPlan plan_memory(const Config& config, std::optional<Bytes> limit);
// What it grants, written into the configuration.
void apply(const MemoryPlan& plan, Config& config);
// For people, a line each.
std::vector<std::string> describe(const MemoryPlan& plan);

}  // namespace lastlight
