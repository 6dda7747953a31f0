#include "agent/kube/node.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::kube;

namespace {
const Server kServer{"https://10.96.0.1:443", "tok"};

Json marked() {
  return *parse_json(R"({"metadata":{"name":"n","uid":"u","resourceVersion":"77",
    "labels":{"node.kubernetes.io/exclude-from-external-load-balancers":"lastlight"},
    "annotations":{"lastlight.io/interruption":"v"},
    "managedFields":[{"manager":"lastlight","fieldsV1":{"f:spec":{"f:unschedulable":{}}}}]},
    "spec":{"unschedulable":true,"taints":[{"key":"theirs","effect":"NoSchedule"},{"key":"ours","effect":"NoSchedule"}]}})");
}
}  // namespace

TEST_CASE("a cordon is one merge PATCH without a list in it") {
  const HttpRequest r = mark_node(kServer, "node-a", "id \"x\"", Mark::Drain);
  CHECK(r.method == "PATCH");
  CHECK(r.url == "https://10.96.0.1:443/api/v1/nodes/node-a?fieldManager=lastlight");
  const Json body = *parse_json(r.body);
  CHECK(bool_at(body, "spec", "unschedulable"));
  CHECK(find(body, "spec")->size() == 1);
  CHECK(string_at(body, "metadata", "annotations", kAnnotation) == "id \"x\"");
  CHECK(string_at(body, "metadata", "labels", kExcludeLabel) == "lastlight");
  bool bearer = false, merge = false;
  for (const HttpHeader& h : r.headers) {
    bearer |= h.name == "Authorization" && h.value == "Bearer tok";
    merge |= h.name == "Content-Type" && h.value == "application/merge-patch+json";
  }
  CHECK(bearer);
  CHECK(merge);
  CHECK(mark_node(kServer, "n", "v", Mark::Drain, true).url.ends_with("&dryRun=All"));
  const Json cordon = *parse_json(mark_node(kServer, "n", "v", Mark::Cordon).body);
  CHECK(bool_at(cordon, "spec", "unschedulable"));
  CHECK(find(cordon, "metadata", "labels") == nullptr);
  CHECK(find(*parse_json(mark_node(kServer, "n", "v", Mark::SoftTaint).body), "spec") == nullptr);
}

TEST_CASE("a node is read: our marks, others' taints, whose cordon it is") {
  const auto node = read_node(marked());
  REQUIRE(node);
  CHECK(node->resource_version == 77);
  CHECK(node->unschedulable);
  CHECK(node->our_cordon);
  CHECK(node->annotation == "v");
  CHECK(node->taints.size() == 2);
  CHECK_FALSE(node->shutting_down);
  Json theirs = marked();
  theirs["metadata"]["managedFields"][0]["manager"] = "kubectl-cordon";
  CHECK_FALSE(read_node(theirs)->our_cordon);
  CHECK_FALSE(read_node(Json::object()));
}

TEST_CASE("only what is ours is removed, each tested before") {
  const auto request = unmark_node(kServer, *read_node(marked()), "ours");
  REQUIRE(request);
  const Json patch = *parse_json(request->body);
  REQUIRE(patch.size() == 8);
  for (std::size_t i = 0; i < patch.size(); i += 2) {
    CHECK(patch[i]["op"] == "test");
    CHECK(patch[i + 1]["op"] == "remove");
    CHECK(patch[i]["path"] == patch[i + 1]["path"]);
  }
  CHECK(patch[1]["path"] == "/metadata/annotations/lastlight.io~1interruption");
  CHECK(patch[7]["path"] == "/spec/taints/1");
  Node both = *read_node(marked());
  both.taints = {{"ours", "", "NoSchedule"}, {"theirs", "", "NoExecute"}, {std::string(kSoftTaint), "", "x"}};
  const Json two = *parse_json(unmark_node(kServer, both, "ours")->body);
  REQUIRE(two.size() == 10);
  CHECK(two[7]["path"] == "/spec/taints/2");  // first, so that it still is the second
  CHECK(two[9]["path"] == "/spec/taints/0");
  Json theirs = marked();
  theirs["metadata"]["managedFields"].clear();
  theirs["metadata"]["labels"][std::string(kExcludeLabel)] = "karpenter";
  CHECK(parse_json(unmark_node(kServer, *read_node(theirs), "")->body)->size() == 2);
  theirs["metadata"]["annotations"].clear();
  CHECK_FALSE(unmark_node(kServer, *read_node(theirs), ""));
}

TEST_CASE("a taint is added to the list, or makes it where there is none") {
  const Taint taint{"k", "", "NoSchedule"};
  CHECK(parse_json(add_taint(kServer, "n", taint, true).body)->size() == 1);
  const Json making = *parse_json(add_taint(kServer, "n", taint, false).body);
  CHECK(making[0]["op"] == "test");
  CHECK(making[0]["value"].is_null());
  CHECK(making[1]["value"].size() == 1);
  CHECK(add_taint(kServer, "n", taint, true).url.find("dryRun") == std::string::npos);
  CHECK(add_taint(kServer, "n", taint, true, true).url.ends_with("&dryRun=All"));
}

TEST_CASE("a cordoned node is being drained, and so is one that shuts down or that an autoscaler removes") {
  Node node;
  CHECK(!is_draining(node));
  node.taints = {{"dedicated", "", "NoSchedule"}};
  CHECK(!is_draining(node));
  node.taints.push_back({"karpenter.sh/disrupted", "", "NoSchedule"});
  CHECK(is_draining(node));
  node.taints.clear();
  node.shutting_down = true;
  CHECK(is_draining(node));
  node.shutting_down = false;
  node.unschedulable = true;
  CHECK(is_draining(node));
}
