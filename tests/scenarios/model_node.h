// The Node object of the API server: GET, merge PATCH and JSON Patch as kube-apiserver answers them where a drain can
// notice, and managedFields of spec.unschedulable.
#pragma once

#include <string>

#include "agent/base/http.h"
#include "agent/base/json.h"

namespace lastlight::test {

struct ModelNode {
  Json object = {
      {"kind", "Node"},
      {"metadata", {{"name", "node-a"}, {"uid", "n-1"}, {"resourceVersion", "100"}, {"managedFields", Json::array()}}},
      {"spec", Json::object()},
      {"status", {{"conditions", Json::array()}}}};
  bool exists = true;
  bool forbidden = false;  // every PATCH answers 403
  unsigned writes = 0;

  bool shuts_down() const { return !object["status"]["conditions"].empty(); }  // the only one that tests set
  std::string version() const { return object["metadata"]["resourceVersion"]; }
  void touch() { object["metadata"]["resourceVersion"] = std::to_string(std::stoul(version()) + 1); }
  void set_unschedulable(bool wanted, const std::string& manager) {
    const bool before = object["spec"].value("unschedulable", false);
    if (before == wanted) return;  // an update that changes nothing takes nothing over
    object["metadata"]["managedFields"] = Json::array();
    if (wanted) {
      object["spec"]["unschedulable"] = true;
      object["metadata"]["managedFields"].push_back(
          Json{{"manager", manager},
               {"operation", "Update"},
               {"fieldsV1", {{"f:spec", {{"f:unschedulable", Json::object()}}}}}});
    } else {
      object["spec"].erase("unschedulable");
    }
  }
  void person(bool unschedulable) {
    set_unschedulable(unschedulable, "kubectl-cordon");
    touch();
  }
  void recreate(const std::string& uid) {
    const std::string before = version();
    object = ModelNode{}.object;
    object["metadata"]["uid"] = uid;
    object["metadata"]["resourceVersion"] = before;
    touch();
    exists = true;
  }

  HttpReply answer(int status) const {
    return {
        .status = status, .headers = {}, .body = status == 200 ? dump_json(object) : std::string("{}"), .error = {}};
  }
  HttpReply serve(const HttpRequest& request) {
    if (!exists) return answer(404);
    if (request.method == "GET") return answer(200);
    ++writes;
    if (forbidden) return answer(403);
    const Json body = *parse_json(request.body);
    const bool merge = request.headers.back().value == "application/merge-patch+json";
    if (request.url.find("dryRun=All") != std::string::npos) return answer(200);
    if (!(merge ? apply_merge(body) : apply_operations(body))) return answer(422);
    touch();
    return answer(200);
  }

  bool apply_merge(const Json& body) {
    Json rest = body;
    rest.erase("spec");
    object.merge_patch(rest);
    if (find(body, "spec") != nullptr) set_unschedulable(bool_at(body, "spec", "unschedulable"), "lastlight");
    return true;
  }
  bool apply_operations(const Json& body) {
    Json next = object;
    for (const Json& operation : body) {
      const std::string op = operation["op"];
      const std::string path = operation["path"];
      const Json::json_pointer at(path.ends_with("/-") ? path.substr(0, path.size() - 2) : path);
      const Json found =
          next.contains(at) ? next[at] : Json();  // an absent value equals null, as evanphx/json-patch has it
      if (op == "test" && found != operation["value"]) return false;
      if (op == "remove") {
        if (found.is_null()) return false;
        Json& parent = next[at.parent_pointer()];
        if (parent.is_array()) {
          parent.erase(static_cast<std::size_t>(std::stoul(at.back())));
        } else {
          parent.erase(at.back());
        }
      }
      if (op == "add" && path.ends_with("/-")) {
        if (!found.is_array()) return false;
        next[at].push_back(operation["value"]);
      } else if (op == "add") {
        next[at] = operation["value"];
      }
    }
    if (has_duplicate_taints(next)) return false;
    object = next;
    return true;
  }
  static bool has_duplicate_taints(const Json& node) {
    const auto& taints = array_at(node, "spec", "taints");
    for (std::size_t i = 0; i < taints.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (taints[i]["key"] == taints[j]["key"] && taints[i]["effect"] == taints[j]["effect"]) return true;
      }
    }
    return false;
  }
};

}  // namespace lastlight::test
