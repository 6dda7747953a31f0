#include "agent/kube/status.h"

#include <algorithm>
#include <charconv>

namespace lastlight::kube {

Status read_status(const Json& json) {
  Status status;
  status.code = static_cast<int>(std::clamp<std::int64_t>(int_at(json, "code").value_or(0), 0, 999));
  status.reason = string_at(json, "reason");
  status.message = string_at(json, "message");
  for (const Json& cause : array_at(json, "details", "causes")) {
    const std::string reason = string_at(cause, "reason");
    status.disruption_budget |= reason == "DisruptionBudget";
    status.namespace_terminating |= reason == "NamespaceTerminating";
  }
  const std::int64_t wait = int_at(json, "details", "retryAfterSeconds").value_or(0);
  if (wait > 0) status.retry_after = std::chrono::seconds(std::min<std::int64_t>(wait, 3600));
  return status;
}

Status read_status(const HttpReply& reply) {
  Status status;
  if (const auto json = parse_json(reply.body)) status = read_status(*json);
  status.code = reply.status;
  if (status.message.empty()) status.message = reply.status == 0 ? reply.error : reply.body.substr(0, 200);
  status.disruption_budget &= reply.status == 429;
  const std::string_view header = reply.header("Retry-After");  // RFC 9110 s10.2.3; the date form is not used here
  unsigned wait = 0;
  const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), wait);
  if (error == std::errc{} && end == header.data() + header.size()) {
    status.retry_after = std::chrono::seconds(std::min(wait, 3600U));
  }
  return status;
}

std::string describe(const Status& status) {
  return status.code == 0 ? status.message : std::to_string(status.code) + " " + status.message;
}

std::string describe(const HttpReply& reply) {
  return describe(read_status(reply));
}

}  // namespace lastlight::kube
