// What a drain needs to know of a Node, read from its JSON, and the requests that mark and unmark it. Our marks are the
// field `unschedulable`, a label, an annotation and a taint; whose `unschedulable` is, managedFields of any answer say
// (server-side field ownership, KEP-555: an update that changes nothing takes nothing over).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/json.h"
#include "agent/kube/requests.h"

namespace lastlight::kube {

inline constexpr std::string_view kManager = "lastlight";  // of the fields we set
inline constexpr std::string_view kAnnotation = "lastlight.io/interruption";
inline constexpr std::string_view kExcludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers";
inline constexpr std::string_view kExcludeValue = "lastlight";
inline constexpr std::string_view kSoftTaint = "lastlight.io/lastlight-interruption";  // its key

// What is put on a node, besides the annotation that says why; each is more than the one before.
enum class Mark {
  SoftTaint,  // PreferNoSchedule
  Cordon,
  Drain,  // the cordon, the label that takes it out of load balancers, and a taint NoSchedule
};

struct Taint {
  std::string key;
  std::string value;
  std::string effect;
  bool operator==(const Taint&) const = default;
};

struct Node {
  std::string name;
  std::string uid;
  std::uint64_t resource_version = 0;  // comparable since Kubernetes 1.35, and in fact always; 0 if it is no number
  bool unschedulable = false;
  bool our_cordon = false;     // managedFields: we set it, nobody else had before
  bool shutting_down = false;  // the kubelet's graceful shutdown (KEP-2000): it stops the pods itself
  std::string annotation;      // ours; empty: absent
  std::string exclude_label;   // its value; empty: absent
  bool has_taints = false;     // the list exists, so that one can be added to it
  std::vector<Taint> taints;   // in the list's order: a JSON Patch names an index
};

// nullopt for what has no name.
std::optional<Node> read_node(const Json& json);
// Are its pods being moved away: cordoned (kubectl drain, ourselves), shutting down, or removed by an autoscaler?
bool is_draining(const Node& node);

HttpRequest get_node(const Server& server, std::string_view node);
// The node as it is, then every change: one event stream about one object.
HttpRequest watch_node(const Server& server, std::string_view node);

// Merge PATCH (RFC 7386) of the annotation and, by `mark`, of spec.unschedulable and the label. Never a list in it: a
// merge would erase other people's taints.
HttpRequest mark_node(const Server& server, std::string_view node, std::string_view annotation, Mark mark,
                      bool dry_run = false);

// The annotation alone, on the node as it was read: 409 when it has been changed since, so that of two only one wins.
HttpRequest annotate_node(const Server& server, const Node& node, std::string_view annotation);

// JSON Patch (RFC 6902): `add` to the list, or the list itself where there is none (tested, so that nothing is lost).
HttpRequest add_taint(const Server& server, std::string_view node, const Taint& taint, bool to_list,
                      bool dry_run = false);

// JSON Patch that removes every taint of this key, whatever its value and effect, and no other: each index is tested
// for the key first, so that 422 says that the list has changed. None when the node has no such taint.
std::optional<HttpRequest> remove_taint(const Server& server, const Node& node, std::string_view key);

// JSON Patch that removes what is still ours, each part tested for our value first: 422 when somebody changed one.
// None when there is nothing of ours on the node. A cordon that was somebody else's before stays.
// The taints are ours by their keys, kSoftTaint and `taint_key`.
std::optional<HttpRequest> unmark_node(const Server& server, const Node& node, std::string_view taint_key);

}  // namespace lastlight::kube
