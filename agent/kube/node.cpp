#include "agent/kube/node.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace lastlight::kube {
namespace {

constexpr std::string_view kMergePatch = "application/merge-patch+json";
constexpr std::string_view kJsonPatch = "application/json-patch+json";

std::string node_path(std::string_view node) {
  return "/api/v1/nodes/" + percent_encode(node);
}

std::string managed(const std::string& path, bool dry_run) {
  return path + "?fieldManager=" + std::string(kManager) + (dry_run ? "&dryRun=All" : "");
}

// RFC 6901 s3.
std::string pointer(std::string_view key) {
  std::string out;
  for (const char c : key)
    out += c == '~' ? std::string("~0") : c == '/' ? std::string("~1") : std::string(1, c);
  return out;
}

Json as_json(const Taint& taint) {
  Json json = {{"key", taint.key}, {"effect", taint.effect}};
  if (!taint.value.empty()) json["value"] = taint.value;
  return json;
}

void test_and_remove(Json& operations, const std::string& path, Json value) {
  operations.push_back(Json{{"op", "test"}, {"path", path}, {"value", std::move(value)}});
  operations.push_back(Json{{"op", "remove"}, {"path", path}});
}

// "node is shutting down" is the kubelet's message (pkg/kubelet/nodestatus) while it stops the pods.
bool is_shutting_down(const Json& json) {
  return std::ranges::any_of(array_at(json, "status", "conditions"), [](const Json& condition) {
    return string_at(condition, "type") == "Ready" && string_at(condition, "status") == "False" &&
           string_at(condition, "message").find("shutting down") != std::string::npos;
  });
}

}  // namespace

std::optional<Node> read_node(const Json& json) {
  Node node;
  node.name = string_at(json, "metadata", "name");
  if (node.name.empty()) return std::nullopt;
  node.uid = string_at(json, "metadata", "uid");
  const std::string version = string_at(json, "metadata", "resourceVersion");
  std::from_chars(version.data(), version.data() + version.size(), node.resource_version);
  node.unschedulable = bool_at(json, "spec", "unschedulable");
  node.shutting_down = is_shutting_down(json);
  node.annotation = string_at(json, "metadata", "annotations", kAnnotation);
  node.exclude_label = string_at(json, "metadata", "labels", kExcludeLabel);
  for (const Json& entry : array_at(json, "metadata", "managedFields")) {
    if (string_at(entry, "manager") != kManager) continue;
    node.our_cordon |= find(entry, "fieldsV1", "f:spec", "f:unschedulable") != nullptr;
  }
  const Json* taints = find(json, "spec", "taints");
  node.has_taints = taints != nullptr && taints->is_array();
  for (const Json& taint : array_or_empty(taints))
    node.taints.push_back({string_at(taint, "key"), string_at(taint, "value"), string_at(taint, "effect")});
  return node;
}

bool is_draining(const Node& node) {
  constexpr std::array<std::string_view, 3> kRemovedBy = {"ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted",
                                                          "karpenter.sh/disruption"};
  return node.unschedulable || node.shutting_down || std::ranges::any_of(node.taints, [&](const Taint& taint) {
           return std::ranges::find(kRemovedBy, taint.key) != kRemovedBy.end();
         });
}

HttpRequest get_node(const Server& server, std::string_view node) {
  return request(server, "GET", node_path(node));
}

HttpRequest watch_node(const Server& server, std::string_view node) {
  return as_watch(request(server, "GET",
                          "/api/v1/nodes?fieldSelector=" + percent_encode("metadata.name=" + std::string(node)) +
                              "&watch=1&allowWatchBookmarks=true"));
}

HttpRequest mark_node(const Server& server, std::string_view node, std::string_view annotation, Mark mark,
                      bool dry_run) {
  Json annotations = Json::object();
  annotations[std::string(kAnnotation)] = std::string(annotation);
  Json body = {{"metadata", Json{{"annotations", annotations}}}};
  if (mark >= Mark::Cordon) body["spec"] = Json{{"unschedulable", true}};
  if (mark >= Mark::Drain) {
    Json labels = Json::object();
    labels[std::string(kExcludeLabel)] = std::string(kExcludeValue);
    body["metadata"]["labels"] = labels;
  }
  return with_body(request(server, "PATCH", managed(node_path(node), dry_run)), body, std::string(kMergePatch));
}

HttpRequest annotate_node(const Server& server, const Node& node, std::string_view annotation) {
  Json annotations = Json::object();
  annotations[std::string(kAnnotation)] = std::string(annotation);
  const Json body = {
      {"metadata", Json{{"annotations", annotations}, {"resourceVersion", std::to_string(node.resource_version)}}}};
  return with_body(request(server, "PATCH", managed(node_path(node.name), false)), body, std::string(kMergePatch));
}

HttpRequest add_taint(const Server& server, std::string_view node, const Taint& taint, bool to_list, bool dry_run) {
  Json operations = Json::array();
  if (to_list) {
    operations.push_back(Json{{"op", "add"}, {"path", "/spec/taints/-"}, {"value", as_json(taint)}});
  } else {
    operations.push_back(Json{{"op", "test"}, {"path", "/spec/taints"}, {"value", nullptr}});
    operations.push_back(Json{{"op", "add"}, {"path", "/spec/taints"}, {"value", Json::array({as_json(taint)})}});
  }
  return with_body(request(server, "PATCH", managed(node_path(node), dry_run)), operations, std::string(kJsonPatch));
}

std::optional<HttpRequest> remove_taint(const Server& server, const Node& node, std::string_view key) {
  Json operations = Json::array();
  for (std::size_t i = node.taints.size(); i-- > 0;) {  // from the end: a removal moves those behind it
    if (node.taints[i].key != key) continue;
    // Its key alone is tested: a NoExecute taint has a time of the API server's in it.
    const std::string path = "/spec/taints/" + std::to_string(i);
    operations.push_back(Json{{"op", "test"}, {"path", path + "/key"}, {"value", std::string(key)}});
    operations.push_back(Json{{"op", "remove"}, {"path", path}});
  }
  if (operations.empty()) return std::nullopt;
  return with_body(request(server, "PATCH", managed(node_path(node.name), false)), operations, std::string(kJsonPatch));
}

std::optional<HttpRequest> unmark_node(const Server& server, const Node& node, std::string_view taint_key) {
  Json operations = Json::array();
  if (!node.annotation.empty()) {
    test_and_remove(operations, "/metadata/annotations/" + pointer(kAnnotation), node.annotation);
  }
  if (node.exclude_label == kExcludeValue) {
    test_and_remove(operations, "/metadata/labels/" + pointer(kExcludeLabel), node.exclude_label);
  }
  if (node.unschedulable && node.our_cordon) test_and_remove(operations, "/spec/unschedulable", true);
  for (std::size_t i = node.taints.size(); i-- > 0;) {  // from the end: a removal moves those behind it
    const Taint& taint = node.taints[i];
    if (taint.key.empty() || (taint.key != taint_key && taint.key != kSoftTaint)) continue;
    test_and_remove(operations, "/spec/taints/" + std::to_string(i), as_json(taint));
  }
  if (operations.empty()) return std::nullopt;
  return with_body(request(server, "PATCH", managed(node_path(node.name), false)), operations, std::string(kJsonPatch));
}

}  // namespace lastlight::kube
