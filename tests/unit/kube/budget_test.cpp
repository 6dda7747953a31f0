#include "agent/kube/budget.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::kube;

namespace {

LabelledPod pod(Labels labels, std::string name_space = "shop") {
  LabelledPod out;
  out.pod.namespace_name = std::move(name_space);
  out.labels = std::move(labels);
  return out;
}

Budget budget(const std::string& selector) {
  const auto json = parse_json(R"({"metadata":{"namespace":"shop","name":"web","generation":2},"spec":{"selector":)" +
                               selector + R"(},"status":{"observedGeneration":2,"disruptionsAllowed":1,
                               "currentHealthy":3,"desiredHealthy":2}})");
  REQUIRE(json);
  const auto read = read_budget(*json);
  REQUIRE(read);
  return *read;
}

}  // namespace

TEST_CASE("a budget is read with what its controller has counted") {
  const Budget read = budget("{}");
  CHECK(read.namespace_name == "shop");
  CHECK(read.name == "web");
  CHECK(read.allowed == 1);
  CHECK(read.healthy == 3);
  CHECK(read.desired == 2);
  CHECK(read.observed);
  CHECK_FALSE(read.unhealthy_always_go);
  CHECK_FALSE(read_budget(Json::object()));
  const auto news = parse_json(R"({"metadata":{"namespace":"a","name":"b","generation":3},
    "spec":{"unhealthyPodEvictionPolicy":"AlwaysAllow"},"status":{"observedGeneration":2}})");
  CHECK_FALSE(read_budget(*news)->observed);
  CHECK(read_budget(*news)->unhealthy_always_go);
}

TEST_CASE("a selector selects as the API server's does") {
  const LabelledPod web = pod({{"app", "web"}, {"tier", "front"}});
  CHECK(selects(budget("{}"), web));
  CHECK_FALSE(selects(budget("null"), web));
  CHECK_FALSE(selects(budget("{}"), pod({{"app", "web"}}, "elsewhere")));
  CHECK(selects(budget(R"({"matchLabels":{"app":"web"}})"), web));
  CHECK_FALSE(selects(budget(R"({"matchLabels":{"app":"web","tier":"back"}})"), web));
  const auto by = [](const std::string& expression) { return budget(R"({"matchExpressions":[)" + expression + "]}"); };
  CHECK(selects(by(R"({"key":"app","operator":"In","values":["api","web"]})"), web));
  CHECK_FALSE(selects(by(R"({"key":"none","operator":"In","values":["web"]})"), web));
  CHECK_FALSE(selects(by(R"({"key":"app","operator":"NotIn","values":["web"]})"), web));
  CHECK(selects(by(R"({"key":"none","operator":"NotIn","values":["web"]})"), web));
  CHECK(selects(by(R"({"key":"app","operator":"Exists"})"), web));
  CHECK_FALSE(selects(by(R"({"key":"app","operator":"DoesNotExist"})"), web));
  CHECK_FALSE(selects(by(R"({"key":"app","operator":"Near"})"), web));
}

TEST_CASE("a page of pods is read with labels and readiness") {
  const auto page = read_labelled_page(R"({"metadata":{"continue":"more"},"items":[
    {"metadata":{"namespace":"shop","name":"a","uid":"1","labels":{"app":"web"}},
     "status":{"conditions":[{"type":"Ready","status":"True"}]}},
    {"metadata":{"namespace":"shop","name":"b","uid":"2"},"status":{"conditions":[{"type":"Ready","status":"False"}]}},
    {"metadata":{"name":"no namespace"}}]})");
  REQUIRE(page);
  CHECK(page->continue_token == "more");
  REQUIRE(page->pods.size() == 2);
  CHECK(page->pods[0].ready);
  CHECK(page->pods[0].labels.at("app") == "web");
  CHECK_FALSE(page->pods[1].ready);
  CHECK_FALSE(read_labelled_page("{}"));
  CHECK_FALSE(read_budgets("[1"));
  CHECK(read_budgets(R"({"items":null})")->empty());
}
