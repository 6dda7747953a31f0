// What a cache hit takes without the kernel: from the datagram to the answer, by Google Benchmark, with the allocations
// counted, expected a few at a time as the server does. The names are asked in turn, so that the larger sets find
// neither their entries nor their queries in the processor's caches. `cut` is the same for names that the NXDOMAIN cut
// answers, `search_path` for names as long as theirs that are kept. `miss` is a question that goes upstream, and its
// answer's way back, in a cache that is full: without the kernel and c-ares.
#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "dnscache/forwarder.h"

#include "tests/bench/workload.h"
#include "tests/support/counted_allocations.h"
#include "tests/unit/dnscache/messages.h"

namespace {

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

const Instant kNow{std::chrono::hours(1)};
const Client kClient{.peer = *Endpoint::parse("10.0.0.1", 4000), .listener = 0, .connection = 0};

struct Node {
  explicit Node(Bytes cache = DnsConfig{}.cache_size) : forwarder(config(cache), 42) {}
  static DnsConfig config(Bytes cache) {
    DnsConfig out;
    out.cache_size = cache;
    for (const char* zone : {"cluster.local", "in-addr.arpa", "ip6.arpa", "."})
      out.zones.emplace_back().name = zone;
    return out;
  }
  std::optional<Ask> ask(const ByteBuffer& query) { return forwarder.on_query(query, kClient, kNow, out).ask; }
  static ByteBuffer query(const std::string& name, bool edns = false) {
    MessageBuilder out = MessageBuilder(7, kRd).question(name, kTypeA);
    return (edns ? out.opt(1232) : out).octets;
  }
  void keep(const ByteBuffer& query, const std::string& name) {
    forwarder.on_reply(ask(query)->flight, MessageBuilder(0, kQr | kRa | kRd).question(name, kTypeA).a(3600).octets,
                       kNow);
  }
  void miss(const Ask& ask, const std::string& name) {
    forwarder.on_reply(
        ask.flight, MessageBuilder(0, kQr | kRa | kRd | kNxDomain).question(name, kTypeA).soa(3600, 3600).octets, kNow);
  }
  // Names below `com` of a search path are missing, and known to be.
  void cut() {
    keep(query("www.example.com"), "www.example.com");
    for (const char* name : {"one.com.shop.svc.cluster.local", "two.com.shop.svc.cluster.local"})
      miss(*ask(query(name)), name);
    miss(*forwarder.next_ask(kNow), "com.shop.svc.cluster.local");
  }

  Forwarder forwarder;
  ByteBuffer out = ByteBuffer(4096);
};

void measure(benchmark::State& state, Node& node, const std::vector<ByteBuffer>& queries) {
  const std::vector<ByteView> views(queries.begin(), queries.end());
  std::size_t next = 0;
  const std::size_t before = allocations;
  for (auto _ : state) {
    if (next % Forwarder::kExpected == 0)
      node.forwarder.expect(std::span(views).subspan(next, std::min(Forwarder::kExpected, views.size() - next)));
    const auto outcome = node.forwarder.on_query(queries[next], kClient, kNow, node.out);
    benchmark::DoNotOptimize(outcome.size);
    if (outcome.size == 0) return state.SkipWithError("not answered here");
    if (++next == queries.size()) next = 0;
  }
  const std::size_t made = allocations - before;
  state.counters["allocations"] = static_cast<double>(made);
  if (made > 0) state.SkipWithError("a hit allocates");
}

void hit(benchmark::State& state, const char* below, bool edns) {
  Node node;
  std::vector<ByteBuffer> queries;
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    const std::string name = "host" + std::to_string(i) + below;
    queries.push_back(Node::query(name, edns));
    node.keep(queries.back(), name);
  }
  measure(state, node, queries);
}

void cut(benchmark::State& state) {
  Node node;
  node.cut();
  std::vector<ByteBuffer> queries;
  for (std::int64_t i = 0; i < state.range(0); ++i)
    queries.push_back(Node::query("host" + std::to_string(i) + ".example.com.shop.svc.cluster.local"));
  measure(state, node, queries);
}

void miss(benchmark::State& state) {
  constexpr int kMoreThanFit = 60'000;
  Node node(mib(8));
  const std::string name = "0000000000000000.miss.example.org";
  ByteBuffer query = Node::query(name);
  ByteBuffer reply = MessageBuilder(0, kQr | kRa | kRd).question(name, kTypeA).a(3600).octets;
  std::uint64_t next = 0;
  const auto one = [&] {
    bench::number(query, ++next);
    bench::number(reply, next);
    const auto ask = node.ask(query);
    return ask && node.forwarder.on_reply(ask->flight, reply, kNow).size() == 1;
  };
  for (int i = 0; i < kMoreThanFit; ++i)
    one();
  const std::size_t before = allocations;
  for (auto _ : state) {
    if (!one()) return state.SkipWithError("not asked upstream, or not answered");
  }
  state.counters["allocations"] =
      benchmark::Counter(static_cast<double>(allocations - before), benchmark::Counter::kAvgIterations);
}

BENCHMARK_CAPTURE(hit, plain, ".example.org", false)->Arg(1)->Arg(1000)->Arg(50'000);
BENCHMARK_CAPTURE(hit, edns, ".example.org", true)->Arg(1000);
BENCHMARK_CAPTURE(hit, search_path, ".example.com.shop.svc.cluster.local", false)->Arg(1000);
BENCHMARK(cut)->Arg(1000);
BENCHMARK(miss);

}  // namespace

BENCHMARK_MAIN();
