#include "agent/kube/service.h"

#include "tests/support/catch.h"

using lastlight::kube::cluster_ips;

TEST_CASE("a Service's cluster IPs, both families") {
  const auto both = cluster_ips(R"({"spec":{"clusterIP":"10.96.0.10","clusterIPs":["10.96.0.10","fd00::a"]}})");
  REQUIRE(both.size() == 2);
  CHECK(both[0].to_string() == "10.96.0.10");
  CHECK(both[1].to_string() == "fd00::a");
  CHECK(cluster_ips(R"({"spec":{"clusterIP":"10.96.0.10"}})").size() == 1);
}

TEST_CASE("a headless Service and anything else have none") {
  CHECK(cluster_ips(R"({"spec":{"clusterIP":"None","clusterIPs":["None"]}})").empty());
  CHECK(cluster_ips(R"({"kind":"Status","code":404})").empty());
  CHECK(cluster_ips("<html>").empty());
  CHECK(cluster_ips(R"({"spec":{"clusterIPs":[1,null]}})").empty());
}
