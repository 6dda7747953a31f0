// What a hold does to a drain: its first evictions wait, its cordon does not, and no pod waits past its own D.
#include <algorithm>

#include "interrupt/drain.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

constexpr const char* kPods =
    R"({"metadata":{"resourceVersion":"2"},"items":[{"metadata":{"namespace":"a","name":"p","uid":"u"},)"
    R"("spec":{"terminationGracePeriodSeconds":15},"status":{"phase":"Running"}}]})";

bool evicts(const DrainStep& step) {
  return std::ranges::any_of(step.orders, [](const Order& order) { return order.call == Call::Evict; });
}

}  // namespace

TEST_CASE("a hold delays evictions only, and is bounded by the pod's own last instant", "[hooks]") {
  const kube::Server server{.base_url = "https://api", .token = "t"};
  Drain drain("node", DrainConfig{}, server, [] { return 0.5; });
  const Instant start{1h};
  Notice notice;
  notice.deadline = start + 120s;
  notice.id = "n";
  const DrainStep first = drain.start({.notice = notice, .noticed = start, .node = "node"}, start);
  const auto list = std::ranges::find(first.orders, Call::List, &Order::call);
  REQUIRE(list != first.orders.end());
  drain.hold(start + 30s);
  const HttpReply pods{.status = 200, .headers = {}, .body = kPods, .error = {}};
  CHECK_FALSE(evicts(drain.on_reply(list->id, pods, start + 1s)));
  const DrainStep waiting = drain.tick(start + 29s);
  CHECK_FALSE(evicts(waiting));
  CHECK(waiting.wake <= start + 30s);
  SECTION("released") {
    drain.hold(std::nullopt);
    CHECK(evicts(drain.tick(start + 29s)));
  }
  SECTION("over") {
    CHECK(evicts(drain.tick(start + 30s)));
  }
  SECTION("longer than the pod has") {
    drain.hold(start + 119s);
    // D = 120 - 3 - 15.
    CHECK_FALSE(evicts(drain.tick(start + 102s - 1ms)));
    CHECK(evicts(drain.tick(start + 102s)));
  }
}
