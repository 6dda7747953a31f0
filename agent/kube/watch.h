// A watch of pods: bytes -> lines -> events, one at a time. Owns one partial line, bounded; a longer line is dropped,
// counted and told, since an event is lost then and the caller must list again.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/http.h"
#include "agent/kube/node.h"
#include "agent/kube/pod.h"
#include "agent/kube/status.h"

namespace lastlight::kube {

class LineCutter {
 public:
  // An object in etcd is at most 1.5 MiB; its JSON with managed fields stays below this.
  explicit LineCutter(std::size_t max_line = std::size_t{3} << 20) : max_line_(max_line) {}

  // Calls `line` for each whole line without its newline; the view is valid during the call only.
  void feed(std::string_view bytes, const std::function<void(std::string_view)>& line);
  void reset();
  std::uint64_t oversized() const { return oversized_; }
  std::size_t buffered() const { return partial_.size(); }

 private:
  std::size_t max_line_;
  std::string partial_;
  bool skipping_ = false;
  std::uint64_t oversized_ = 0;
};

struct WatchEvent {
  enum class Type { Added, Modified, Deleted, Bookmark, Error };
  Type type = Type::Bookmark;
  std::optional<Pod> pod;        // Added, Modified, Deleted of a pod
  std::optional<Node> node;      // of a node
  std::string resource_version;  // empty for Error
  Status status;                 // Error
};

std::expected<WatchEvent, std::string> read_watch_event(std::string_view line);       // of a watch of pods
std::expected<WatchEvent, std::string> read_node_watch_event(std::string_view line);  // of a watch of nodes

struct PodPage {
  std::vector<Pod> pods;
  std::string continue_token;  // empty: this was the last page
  std::string resource_version;
};

std::expected<PodPage, std::string> read_pod_page(std::string_view body);

}  // namespace lastlight::kube
