#include "metrics/status.h"

#include "agent/base/json.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace std::chrono_literals;

TEST_CASE("the status document says what the counters say") {
  dns::ForwarderCounters forwarder;
  forwarder.rcodes = {90, 0, 2, 8};
  forwarder.answered_from_cache = 70;
  dns::CacheCounters cache;
  cache.entries = 12;
  Histogram waits;
  waits.add(Duration(4ms));
  const Histogram lag;
  const std::optional<interrupt::Notice> notice = interrupt::Notice{
      .kind = interrupt::NoticeKind::SpotTerminate, .deadline = Instant{100s}, .id = "x", .source = "aws"};
  dns::ServerCounters server;
  server.udp_queries = 95;
  server.tcp_queries = 5;
  const metrics::Scrape scrape{.version = "1.2.3",
                               .now = Instant{40s},
                               .node = "spot-\xff",
                               .process = {.up = 30s},
                               .forwarder = forwarder,
                               .waits = waits,
                               .cache = cache,
                               .cache_size = mib(32),
                               .cut = {},
                               .reload = {},
                               .upstream = {},
                               .upstreams = {{*Endpoint::parse("10.0.0.2:53", 53), {.healthy = false}}},
                               .server = server,
                               .receive_buffer = {},
                               .takeover_state = "held",
                               .loop_lag = lag,
                               .notice = &notice};
  const auto json = parse_json(metrics::status_json(scrape, true));
  REQUIRE(json);
  CHECK(string_at(*json, "node") == "spot-\xEF\xBF\xBD");
  CHECK(int_at(*json, "dns", "queries", "udp") == 95);
  CHECK(int_at(*json, "dns", "responses", "NXDOMAIN") == 8);
  CHECK(find(*json, "dns", "responses", "FORMERR") == nullptr);
  CHECK(int_at(*json, "dns", "waits", "count") == 1);
  CHECK(int_at(*json, "cache", "budget_bytes") == std::int64_t{32} << 20);
  CHECK(string_at(*json, "interruption", "notice", "kind") == "spot-terminate");
  CHECK(find(*json, "interruption", "notice", "left_seconds")->get<double>() == 60);
  CHECK(find(*json, "interruption", "drain")->is_null());
  CHECK(find(*json, "interruption", "source")->is_null());
  CHECK(array_or_empty(find(*json, "upstreams")).size() == 1);
}
