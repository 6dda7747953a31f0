#include "agent/config/memory.h"

#include <algorithm>
#include <cstdio>

namespace lastlight {

namespace {

std::string in_mib(Bytes bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", static_cast<double>(bytes.count) / (1 << 20));
  return text;
}

// A Service may have an address of each family.
std::uint64_t count_sockets(const std::vector<AddressSpec>& specs) {
  std::uint64_t count = 0;
  for (const AddressSpec& spec : specs)
    count += spec.kind == AddressSpec::Kind::Service ? 2 : 1;
  return count;
}

Bytes connections_of(std::uint32_t count) {
  return Bytes{count * MemoryPlan::kConnection.count};
}

}  // namespace

Bytes MemoryPlan::total() const {
  return Bytes{kProgram.count + sockets.count + flights.count + cache.count + tcp_buffers.count +
               connections_of(tcp_connections).count};
}

MemoryPlan plan_memory(const Config& config, std::optional<Bytes> limit) {
  const DnsConfig& dns = config.dns;
  MemoryPlan plan;
  plan.limit = limit;
  plan.sockets =
      Bytes{2 * dns.receive_buffer.count * (count_sockets(dns.listen) + count_sockets(config.takeover.link_local))};
  plan.flights = Bytes{dns.max_flights * MemoryPlan::kFlight.count};
  const double wanted =
      static_cast<double>(dns.cache_size.count + dns.tcp_buffers.count + connections_of(dns.tcp_max_connections).count);
  if (limit) {
    const std::uint64_t fixed = limit->count / 8 + MemoryPlan::kProgram.count + plan.sockets.count + plan.flights.count;
    const double left = static_cast<double>(limit->count) - static_cast<double>(fixed);
    plan.fits = left >= wanted * MemoryPlan::kLeast;
    plan.share = std::clamp(left / wanted, MemoryPlan::kLeast, 1.0);
  }
  const auto part = [&](std::uint64_t of) { return static_cast<std::uint64_t>(static_cast<double>(of) * plan.share); };
  plan.cache = Bytes{part(dns.cache_size.count)};
  plan.tcp_buffers = Bytes{part(dns.tcp_buffers.count)};
  plan.tcp_connections = static_cast<std::uint32_t>(std::max<std::uint64_t>(1, part(dns.tcp_max_connections)));
  plan.tcp_per_client = std::min(dns.tcp_max_per_client, plan.tcp_connections);
  return plan;
}

void apply(const MemoryPlan& plan, Config& config) {
  config.dns.cache_size = plan.cache;
  config.dns.tcp_buffers = plan.tcp_buffers;
  config.dns.tcp_max_connections = plan.tcp_connections;
  config.dns.tcp_max_per_client = plan.tcp_per_client;
}

std::vector<std::string> describe(const MemoryPlan& plan) {
  std::vector<std::string> lines;
  lines.push_back(plan.limit ? "memory.max is " + in_mib(*plan.limit) + ", an eighth stays free"
                             : std::string("memory.max is not set: nothing is cut"));
  lines.push_back("program " + in_mib(MemoryPlan::kProgram) + ", receive buffers " + in_mib(plan.sockets) +
                  ", questions in flight " + in_mib(plan.flights));
  lines.push_back("cache " + in_mib(plan.cache) + ", TCP buffers " + in_mib(plan.tcp_buffers) + ", " +
                  std::to_string(plan.tcp_connections) + " TCP connections " +
                  in_mib(connections_of(plan.tcp_connections)) + "; in all " + in_mib(plan.total()));
  if (plan.share < 1) {
    char text[96];
    std::snprintf(text, sizeof text, "cache-size, tcp-buffers and tcp-max-connections are cut to %.0f %%",
                  100 * plan.share);
    lines.emplace_back(text);
  }
  if (!plan.fits) lines.emplace_back("that is more than there is: lower receive-buffer or max-flights");
  return lines;
}

}  // namespace lastlight
