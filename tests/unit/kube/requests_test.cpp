#include "agent/kube/requests.h"

#include "agent/base/json.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::kube;

namespace {
const Server kServer{"https://10.96.0.1:443", "tok"};
}

TEST_CASE("names cannot leave their place in the URL") {
  CHECK(get_service(kServer, "ns", "../secrets").url ==
        "https://10.96.0.1:443/api/v1/namespaces/ns/services/..%2Fsecrets");
  CHECK(list_pods(kServer, "n1", 20, "a=b").url.ends_with("?fieldSelector=spec.nodeName%3Dn1&limit=20&continue=a%3Db"));
  CHECK(watch_pods(kServer, "n1", "42").url.ends_with("&resourceVersion=42"));
}

TEST_CASE("a marking eviction has no grace, a trial changes nothing") {
  const PodRef pod{"shop", "web-1", "u-1"};
  const Json marking = *parse_json(evict_pod(kServer, pod, std::nullopt).body);
  CHECK(find(marking, "deleteOptions", "gracePeriodSeconds") == nullptr);
  CHECK(string_at(marking, "deleteOptions", "preconditions", "uid") == "u-1");
  const HttpRequest trial = evict_pod(kServer, pod, 5, true);
  CHECK(trial.url.ends_with("/eviction?dryRun=All"));
  CHECK(parse_json(trial.body)->at("deleteOptions").at("dryRun") == Json::array({"All"}));
}

TEST_CASE("an Event about a pod stands in its namespace") {
  NodeEvent event;
  event.node = "n";
  event.name = "e";
  CHECK(create_event(kServer, event).url.ends_with("/namespaces/default/events"));
  event.pod = PodRef{"shop", "web-1", "u-1"};
  const HttpRequest about = create_event(kServer, event);
  CHECK(about.url.ends_with("/namespaces/shop/events"));
  CHECK(string_at(*parse_json(about.body), "involvedObject", "uid") == "u-1");
}

TEST_CASE("evictions and deletes carry grace and UID") {
  const PodRef pod{"shop", "web-1", "u-1"};
  const HttpRequest evict = evict_pod(kServer, pod, 15);
  CHECK(evict.method == "POST");
  CHECK(evict.url == "https://10.96.0.1:443/api/v1/namespaces/shop/pods/web-1/eviction");
  const Json eviction = *parse_json(evict.body);
  CHECK(string_at(eviction, "apiVersion") == "policy/v1");
  CHECK(int_at(eviction, "deleteOptions", "gracePeriodSeconds") == 15);
  CHECK(string_at(eviction, "deleteOptions", "preconditions", "uid") == "u-1");
  const HttpRequest remove = delete_pod(kServer, pod, 1);
  CHECK(remove.method == "DELETE");
  CHECK(remove.url == "https://10.96.0.1:443/api/v1/namespaces/shop/pods/web-1");
  CHECK(int_at(*parse_json(remove.body), "gracePeriodSeconds") == 1);
  CHECK(string_at(*parse_json(remove.body), "preconditions", "uid") == "u-1");
}

TEST_CASE("an Event names the node as the kubelet does") {
  const HttpRequest r =
      create_event(kServer, {"n1", std::nullopt, "n1.cordon.1", "Normal", "Cordon", "done", "2017-09-18T08:22:00Z"});
  const Json body = *parse_json(r.body);
  CHECK(r.url.ends_with("/api/v1/namespaces/default/events"));
  CHECK(string_at(body, "involvedObject", "uid") == "n1");
  CHECK(string_at(body, "lastTimestamp") == "2017-09-18T08:22:00Z");
}
