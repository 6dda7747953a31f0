// What a cache hit takes without the kernel: from the datagram to the answer, by Google Benchmark, with the allocations
// counted, expected a few at a time as the server does. The names are asked in turn, so that the larger sets find
// neither their entries nor their queries in the processor's caches.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "dnscache/forwarder.h"

#include "tests/support/counted_allocations.h"
#include "tests/unit/dnscache/messages.h"

namespace {

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

void hit(benchmark::State& state, bool edns) {
  DnsConfig config;
  for (const char* zone : {"cluster.local", "in-addr.arpa", "ip6.arpa", "."})
    config.zones.emplace_back().name = zone;
  Forwarder forwarder(config, 42);
  const Instant now{std::chrono::hours(1)};
  const Client client{.peer = *Endpoint::parse("10.0.0.1", 4000), .listener = 0, .connection = 0};
  ByteBuffer out(4096);
  std::vector<ByteBuffer> queries;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    const std::string name = "host" + std::to_string(i) + ".example.org";
    MessageBuilder query = MessageBuilder(7, kRd).question(name, kTypeA);
    if (edns) query.opt(1232);
    const auto asked = forwarder.on_query(query.octets, client, now, out);
    forwarder.on_reply(asked.ask->flight, MessageBuilder(0, kQr | kRa | kRd).question(name, kTypeA).a(3600).octets,
                       now);
    queries.push_back(query.octets);
  }
  const std::vector<ByteView> views(queries.begin(), queries.end());
  std::size_t next = 0;
  const std::size_t before = allocations;
  for (auto _ : state) {
    if (next % Forwarder::kExpected == 0)
      forwarder.expect(std::span(views).subspan(next, std::min(Forwarder::kExpected, views.size() - next)));
    const auto outcome = forwarder.on_query(queries[next], client, now, out);
    benchmark::DoNotOptimize(outcome.size);
    if (++next == queries.size()) next = 0;
  }
  const std::size_t made = allocations - before;
  state.counters["allocations"] = static_cast<double>(made);
  if (made > 0) state.SkipWithError("a hit allocates");
}

BENCHMARK_CAPTURE(hit, plain, false)->Arg(1)->Arg(1000)->Arg(50'000);
BENCHMARK_CAPTURE(hit, edns, true)->Arg(1000);

}  // namespace

BENCHMARK_MAIN();
