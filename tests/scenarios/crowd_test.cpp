// Hundreds of nodes at once (crowd.h): what each asks for, and how long it waits, decide whether all are served.
#include "tests/scenarios/crowd.h"

#include <cstdio>

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::test;

TEST_CASE("of 200 nodes that end within ten seconds before one busy API server nobody is told late") {
  // 125 a second: some 3,800 requests must be served before the last node's D, 37 s after the first notice.
  const Duration cost = GENERATE(6ms, 8ms);
  Crowd crowd(200, cost);
  crowd.run();
  std::size_t pods = 0, late = 0, deleted_before = 0;
  Duration latest = -Crowd::kWindow;
  for (const Crowd::Telling& each : crowd.tellings()) {
    ++pods;
    REQUIRE(each.told != kNever);
    latest = std::max(latest, Duration(each.told - each.due));
    late += each.told > each.due + 1s ? 1U : 0U;
    deleted_before += each.guarded && each.told < each.due ? 1U : 0U;
  }
  std::printf("crowd: %zu pods, the latest %.2f s from D; %zu requests, %zu refused by budgets, %zu given up\n", pods,
              seconds(latest), crowd.requests, crowd.refused, crowd.given_up);
  CHECK(pods == 2792);
  CHECK(late == 0);
  CHECK(deleted_before == 0);
  CHECK(crowd.given_up == 0);
  CHECK(crowd.refused < 200 * 7);  // of a budget that never allows; fewer the busier the server is
}
