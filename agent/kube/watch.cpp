#include "agent/kube/watch.h"

#include <utility>

namespace lastlight::kube {

namespace {

constexpr std::size_t kMaxPage = std::size_t{8} << 20;

// All but the object itself, which `read` takes.
std::expected<WatchEvent, std::string> read_event(std::string_view line,
                                                  const std::function<bool(const Json&, WatchEvent&)>& read) {
  const auto json = parse_json(line);
  if (!json) return std::unexpected(json.error());
  const std::string type = string_at(*json, "type");
  const Json* object = find(*json, "object");
  if (!object) return std::unexpected("a watch event without an object");
  WatchEvent event;
  if (type == "ERROR") {
    event.type = WatchEvent::Type::Error;
    event.status = read_status(*object);
    return event;
  }
  event.resource_version = string_at(*object, "metadata", "resourceVersion");
  if (type == "BOOKMARK") return event;
  if (type == "ADDED") {
    event.type = WatchEvent::Type::Added;
  } else if (type == "MODIFIED") {
    event.type = WatchEvent::Type::Modified;
  } else if (type == "DELETED") {
    event.type = WatchEvent::Type::Deleted;
  } else {
    return std::unexpected("an unknown watch event type");
  }
  if (!read(*object, event)) return std::unexpected("a watch event whose object is not of the kind that is watched");
  return event;
}

}  // namespace

void LineCutter::feed(std::string_view bytes, const std::function<void(std::string_view)>& line) {
  while (!bytes.empty()) {
    const std::size_t newline = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, newline);
    if (!skipping_ && partial_.size() + piece.size() > max_line_) {
      skipping_ = true;
      ++oversized_;
      partial_ = {};
    }
    if (newline == std::string_view::npos) {
      if (!skipping_) partial_ += piece;
      return;
    }
    bytes.remove_prefix(newline + 1);
    if (std::exchange(skipping_, false)) continue;
    if (partial_.empty()) {
      if (!piece.empty()) line(piece);
      continue;
    }
    partial_ += piece;
    const std::string whole = std::exchange(partial_, {});
    line(whole);
  }
}

void LineCutter::reset() {
  partial_ = {};
  skipping_ = false;
}

std::expected<WatchEvent, std::string> read_watch_event(std::string_view line) {
  return read_event(line, [](const Json& object, WatchEvent& event) {
    event.pod = read_pod(object);
    return event.pod.has_value();
  });
}

std::expected<WatchEvent, std::string> read_node_watch_event(std::string_view line) {
  return read_event(line, [](const Json& object, WatchEvent& event) {
    event.node = read_node(object);
    return event.node.has_value();
  });
}

std::expected<PodPage, std::string> read_pod_page(std::string_view body) {
  PodPage page;
  const auto take = [&page](const Json& item) {
    if (auto pod = read_pod(item)) page.pods.push_back(std::move(*pod));
  };
  const auto json = parse_json_list(body, "items", take, {.bytes = kMaxPage});
  if (!json) return std::unexpected(json.error());
  const Json* items = find(*json, "items");
  if (!items || !(items->is_array() || items->is_null())) return std::unexpected("a pod list without items");
  page.continue_token = string_at(*json, "metadata", "continue");
  page.resource_version = string_at(*json, "metadata", "resourceVersion");
  return page;
}

}  // namespace lastlight::kube
