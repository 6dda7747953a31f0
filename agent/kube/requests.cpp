#include "agent/kube/requests.h"

#include <array>
#include <cctype>
#include <cstdio>
#include <limits>

#include "agent/base/json.h"

namespace lastlight::kube {
namespace {

constexpr auto kWatchSilence = std::chrono::seconds(90);  // bookmarks come about each minute: silence is a dead stream

std::string pod_path(const PodRef& pod) {
  return "/api/v1/namespaces/" + percent_encode(pod.namespace_name) + "/pods/" + percent_encode(pod.name);
}

std::string pods_of(std::string_view node) {
  return "/api/v1/pods?fieldSelector=" + percent_encode("spec.nodeName=" + std::string(node));
}

Json delete_options(const PodRef& pod, std::optional<std::int64_t> grace_seconds, bool dry_run) {
  Json options = {{"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"preconditions", Json{{"uid", pod.uid}}}};
  if (grace_seconds) options["gracePeriodSeconds"] = *grace_seconds;
  if (dry_run) options["dryRun"] = Json::array({"All"});
  return options;
}

// FNV-1a.
std::string short_hash(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  std::array<char, 17> hex{};
  std::snprintf(hex.data(), hex.size(), "%016llx", static_cast<unsigned long long>(hash));
  return hex.data();
}

}  // namespace

HttpRequest request(const Server& server, std::string method, const std::string& path) {
  HttpRequest out;
  out.method = std::move(method);
  out.url = server.base_url + path;
  out.headers.push_back({"Accept", "application/json"});
  if (!server.token.empty()) out.headers.push_back({"Authorization", "Bearer " + server.token});
  return out;
}

HttpRequest with_body(HttpRequest out, const Json& body, std::string type) {
  out.headers.push_back({"Content-Type", std::move(type)});
  out.body = dump_json(body);
  return out;
}

HttpRequest as_watch(HttpRequest out) {
  out.timeout = kWatchSilence;
  out.max_body = std::numeric_limits<std::uint64_t>::max();  // a stream, never kept whole
  return out;
}

HttpRequest watch_pods(const Server& server, std::string_view node, std::string_view resource_version) {
  return as_watch(
      request(server, "GET",
              pods_of(node) + "&watch=1&allowWatchBookmarks=true&resourceVersion=" + percent_encode(resource_version)));
}

HttpRequest list_pods(const Server& server, std::string_view node, unsigned limit, std::string_view continue_token) {
  std::string path = pods_of(node) + "&limit=" + std::to_string(limit);
  if (!continue_token.empty()) path += "&continue=" + percent_encode(continue_token);
  HttpRequest out = request(server, "GET", path);
  out.max_body = 8U << 20;
  return out;
}

HttpRequest evict_pod(const Server& server, const PodRef& pod, std::optional<std::int64_t> grace_seconds,
                      bool dry_run) {
  const Json options = delete_options(pod, grace_seconds, dry_run);
  const Json body = {{"apiVersion", "policy/v1"},
                     {"kind", "Eviction"},
                     {"metadata", Json{{"name", pod.name}, {"namespace", pod.namespace_name}}},
                     {"deleteOptions", options}};
  return with_body(request(server, "POST", pod_path(pod) + "/eviction" + (dry_run ? "?dryRun=All" : "")), body);
}

HttpRequest delete_pod(const Server& server, const PodRef& pod, std::int64_t grace_seconds, bool dry_run) {
  return with_body(request(server, "DELETE", pod_path(pod)), delete_options(pod, grace_seconds, dry_run));
}

std::string event_name(std::string_view about, std::string_view reason, std::string_view id) {
  std::string name(about.substr(0, 200));  // an object's name has 253 characters at most
  while (!name.empty() && !std::isalnum(static_cast<unsigned char>(name.back())))
    name.pop_back();
  name += '.';
  for (const char c : reason)
    name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name + '.' + short_hash(id);
}

HttpRequest create_event(const Server& server, const NodeEvent& event) {
  // A Node has no namespace; its Events live in `default`, and the kubelet's convention is its name as the UID.
  const std::string space = event.pod ? event.pod->namespace_name : "default";
  const Json about = event.pod ? Json{{"apiVersion", "v1"},
                                      {"kind", "Pod"},
                                      {"namespace", space},
                                      {"name", event.pod->name},
                                      {"uid", event.pod->uid}}
                               : Json{{"kind", "Node"}, {"name", event.node}, {"uid", event.node}};
  Json body = {{"apiVersion", "v1"},
               {"kind", "Event"},
               {"metadata", Json{{"name", event.name}, {"namespace", space}}},
               {"involvedObject", about},
               {"type", event.type},
               {"reason", event.reason},
               {"message", event.message.substr(0, 1024)},  // the API's limit
               {"source", Json{{"component", "lastlight"}, {"host", event.node}}},
               {"count", 1}};
  if (!event.time.empty()) {
    body["firstTimestamp"] = event.time;
    body["lastTimestamp"] = event.time;
  }
  return with_body(request(server, "POST", "/api/v1/namespaces/" + percent_encode(space) + "/events"), body);
}

HttpRequest review_access(const Server& server, const Access& access) {
  Json attributes = {{"verb", std::string(access.verb)}, {"resource", std::string(access.resource)}};
  if (!access.subresource.empty()) attributes["subresource"] = std::string(access.subresource);
  if (!access.group.empty()) attributes["group"] = std::string(access.group);
  const Json body = {{"apiVersion", "authorization.k8s.io/v1"},
                     {"kind", "SelfSubjectAccessReview"},
                     {"spec", Json{{"resourceAttributes", attributes}}}};
  return with_body(request(server, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"), body);
}

HttpRequest list_budgets(const Server& server) {
  HttpRequest out = request(server, "GET", "/apis/policy/v1/poddisruptionbudgets");
  out.max_body = 8U << 20;
  return out;
}

HttpRequest get_service(const Server& server, std::string_view namespace_name, std::string_view name) {
  return request(server, "GET",
                 "/api/v1/namespaces/" + percent_encode(namespace_name) + "/services/" + percent_encode(name));
}

}  // namespace lastlight::kube
