#include "agent/kube/watch.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::kube;

namespace {

const std::string kPod =
    R"({"metadata":{"namespace":"shop","name":"web","uid":"u1","resourceVersion":"7","deletionTimestamp":"2017-09-18T08:22:00Z",)"
    R"("deletionGracePeriodSeconds":12,"ownerReferences":[{"kind":"Other","name":"x"},{"kind":"ReplicaSet","name":"rs","controller":true}]},)"
    R"("spec":{"terminationGracePeriodSeconds":45,"priority":1000,"readinessGates":[{"conditionType":"target-health.x"}]},"status":{"phase":"Running"}})";

std::vector<std::string> cut(LineCutter& cutter, std::string_view text, std::size_t step) {
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < text.size(); i += step) {
    cutter.feed(text.substr(i, step), [&](std::string_view line) { lines.emplace_back(line); });
  }
  return lines;
}

}  // namespace

TEST_CASE("lines are the same however the network cuts them") {
  const std::string text = "one\n\ntwo\nthree and more\n4\nrest";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    LineCutter cutter;
    CHECK(cut(cutter, text, step) == std::vector<std::string>{"one", "two", "three and more", "4"});
    CHECK(cutter.buffered() == 4);
  }
}

TEST_CASE("a line over the bound is dropped and counted, the next is whole") {
  for (std::size_t step : {1U, 3U, 7U, 100U}) {
    LineCutter cutter(5);
    CHECK(cut(cutter, "12345\n1234567890\nabc\n", step) == std::vector<std::string>{"12345", "abc"});
    CHECK(cutter.oversized() == 1);
    CHECK(cutter.buffered() == 0);
  }
}

TEST_CASE("a pod is read from its event") {
  const auto event = read_watch_event(R"({"type":"MODIFIED","object":)" + kPod + "}");
  REQUIRE(event);
  CHECK(event->type == WatchEvent::Type::Modified);
  CHECK(event->resource_version == "7");
  const Pod& pod = *event->pod;
  CHECK(pod.controller_kind == "ReplicaSet");
  CHECK(pod.controller_name == "rs");
  CHECK(pod.grace_seconds == 45);
  CHECK(pod.terminating);
  CHECK(pod.deletion_grace_seconds == 12);
  CHECK(pod.priority == 1000);
  CHECK(pod.readiness_gates == std::vector<std::string>{"target-health.x"});
  CHECK_FALSE(pod.mirror);
  CHECK_FALSE(pod.finished());
}

TEST_CASE("bookmarks, errors and garbage are told apart") {
  const auto bookmark = read_watch_event(R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}})");
  REQUIRE(bookmark);
  CHECK(bookmark->type == WatchEvent::Type::Bookmark);
  CHECK(bookmark->resource_version == "9");
  const auto gone = read_watch_event(R"({"type":"ERROR","object":{"code":410,"reason":"Expired"}})");
  REQUIRE(gone);
  CHECK(gone->status.code == 410);
  for (const char* bad : {"", "x", "[]", "{}", R"({"type":"ADDED"})", R"({"type":"ADDED","object":{}})",
                          R"({"type":"NEW","object":{}})", R"({"type":1,"object":[]})"}) {
    INFO(bad);
    CHECK_FALSE(read_watch_event(bad));
  }
}

TEST_CASE("a page of pods") {
  const auto page = read_pod_page(R"({"metadata":{"continue":"c","resourceVersion":"3"},"items":[)" + kPod + ",{}]}");
  REQUIRE(page);
  CHECK(page->pods.size() == 1);
  CHECK(page->continue_token == "c");
  CHECK(read_pod_page(R"({"metadata":{},"items":null})")->pods.empty());
  CHECK_FALSE(read_pod_page("{}"));
}

TEST_CASE("only a 429 with the cause is a budget") {
  HttpReply reply{.status = 429, .headers = {{"Retry-After", "10"}}, .body = {}, .error = {}};
  reply.body = R"({"message":"no","details":{"causes":[{"reason":"DisruptionBudget"}]}})";
  CHECK(read_status(reply).disruption_budget);
  CHECK(read_status(reply).retry_after == Duration(std::chrono::seconds(10)));
  CHECK(read_status(reply).message == "no");
  reply.body = "too many requests";
  CHECK_FALSE(read_status(reply).disruption_budget);
  reply.headers[0].value = "soon";
  CHECK_FALSE(read_status(reply).retry_after);
  CHECK(read_status(HttpReply{.status = 0, .headers = {}, .body = {}, .error = "refused"}).message == "refused");
}
