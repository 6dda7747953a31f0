// Requests to the Kubernetes API, as values: paths, queries, bodies and content types. It never sends, keeps or retries
// anything. Names are percent-encoded (RFC 3986 s2.1), so that no name can leave its path segment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/base/http.h"
#include "agent/base/json.h"

namespace lastlight::kube {

// Where the API server is and who asks. The shell replaces `token` when the service account's token rotates.
struct Server {
  std::string base_url;  // "https://10.96.0.1:443", no trailing slash
  std::string token;     // empty: no Authorization header
};

struct PodRef {
  std::string namespace_name;
  std::string name;
  std::string uid;
};

// Every change after this resourceVersion.
HttpRequest watch_pods(const Server& server, std::string_view node, std::string_view resource_version);
// One page of the pods of a node; `continue_token` empty for the first.
HttpRequest list_pods(const Server& server, std::string_view node, unsigned limit, std::string_view continue_token);

// KEP-85: eviction honours PodDisruptionBudgets. Both carry the UID, so that a successor of the same name is safe.
// Without a grace an eviction of a pod that terminates already changes nothing but its condition DisruptionTarget.
HttpRequest evict_pod(const Server& server, const PodRef& pod, std::optional<std::int64_t> grace_seconds,
                      bool dry_run = false);
HttpRequest delete_pod(const Server& server, const PodRef& pod, std::int64_t grace_seconds, bool dry_run = false);

// A core/v1 Event about the node, or about `pod` where one is given.
struct NodeEvent {
  std::string node;
  std::optional<PodRef> pod;
  std::string name;  // of the Event object; the same name makes a repeated create harmless (409)
  std::string type;  // Normal, Warning
  std::string reason;
  std::string message;
  std::string time;  // RFC 3339, or empty when unknown
};
HttpRequest create_event(const Server& server, const NodeEvent& event);
// A name for it that is an object's whatever the node's or pod's is, the same for the same `id` at every try.
std::string event_name(std::string_view about, std::string_view reason, std::string_view id);

// May we? (SelfSubjectAccessReview: anybody may ask for themselves.)
struct Access {
  std::string_view verb;
  std::string_view resource;
  std::string_view subresource;
  std::string_view group;
};
HttpRequest review_access(const Server& server, const Access& access);
HttpRequest list_budgets(const Server& server);

HttpRequest get_service(const Server& server, std::string_view namespace_name, std::string_view name);

// The ground of the functions above and of node.h.
HttpRequest request(const Server& server, std::string method, const std::string& path);
HttpRequest with_body(HttpRequest request, const Json& body, std::string type = "application/json");
HttpRequest as_watch(HttpRequest request);

}  // namespace lastlight::kube
