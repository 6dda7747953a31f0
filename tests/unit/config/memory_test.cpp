#include "agent/config/memory.h"

#include "tests/support/catch.h"

using namespace lastlight;

namespace {

// One UDP socket.
Config on_a_node() {
  Config config;
  config.dns.listen = {{.kind = AddressSpec::Kind::Node, .address = {}, .service = {}, .port = 53}};
  return config;
}

}  // namespace

TEST_CASE("without a limit, and with the limit we ship, everything is as configured") {
  for (const auto limit : {std::optional<Bytes>(), std::optional(mib(192)), std::optional(mib(4096))}) {
    const MemoryPlan plan = plan_memory(on_a_node(), limit);
    CHECK(plan.cache == mib(32));
    CHECK(plan.tcp_buffers == mib(16));
    CHECK(plan.tcp_connections == 1024);
    CHECK(plan.tcp_per_client == 64);
    CHECK(plan.share == 1);
    CHECK(plan.fits);
  }
}

TEST_CASE("with less, cache, buffers and connections are cut alike: the formula") {
  // 88 - 11 free - 16 program - 16 receive buffer - 12 flights = 33 MiB for 32 + 16 + 40.
  const MemoryPlan plan = plan_memory(on_a_node(), mib(88));
  CHECK(plan.sockets == mib(16));
  CHECK(plan.flights == mib(12));
  CHECK(plan.cache == mib(12));
  CHECK(plan.tcp_buffers == mib(6));
  CHECK(plan.tcp_connections == 384);
  CHECK(plan.fits);
  CHECK(plan.total() == mib(77));
  Config config = on_a_node();
  apply(plan, config);
  CHECK(config.dns.cache_size == mib(12));
  CHECK(config.dns.tcp_max_connections == 384);
  CHECK(config.dns.tcp_max_per_client == 64);
}

TEST_CASE("whatever is configured and given: never over the limit where it can be held, never under the least") {
  for (std::uint64_t limit = 8; limit <= 512; limit += 4) {
    for (const std::uint64_t cache : {1U, 32U, 400U}) {
      Config config = on_a_node();
      config.dns.cache_size = mib(cache);
      config.dns.listen.push_back({.kind = AddressSpec::Kind::Service, .address = {}, .service = "x", .port = 53});
      config.dns.receive_buffer = mib(1);
      const MemoryPlan plan = plan_memory(config, mib(limit));
      INFO(limit << " MiB for a cache of " << cache);
      CHECK(plan.sockets == mib(6));
      CHECK(plan.cache <= config.dns.cache_size);
      CHECK(plan.cache.count >= config.dns.cache_size.count / 16);
      CHECK(plan.tcp_connections >= 64);
      if (plan.fits) CHECK(plan.total().count <= mib(limit).count * 7 / 8);
      if (!plan.fits) CHECK(plan.share == MemoryPlan::kLeast);
    }
  }
  Config config = on_a_node();
  config.dns.tcp_max_connections = 16;
  CHECK(plan_memory(config, mib(1)).tcp_connections == 1);
  CHECK(plan_memory(config, mib(1)).tcp_per_client == 1);
}

TEST_CASE("what is said of it") {
  const auto free = describe(plan_memory(on_a_node(), std::nullopt));
  CHECK(free.at(0) == "memory.max is not set: nothing is cut");
  CHECK(free.at(2) == "cache 32.0 MiB, TCP buffers 16.0 MiB, 1024 TCP connections 40.0 MiB; in all 132.0 MiB");
  CHECK(free.size() == 3);
  const auto cut = describe(plan_memory(on_a_node(), mib(88)));
  CHECK(cut.at(3) == "cache-size, tcp-buffers and tcp-max-connections are cut to 38 %");
  CHECK(describe(plan_memory(on_a_node(), mib(32))).size() == 5);
}
