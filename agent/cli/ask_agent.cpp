#include "agent/cli/ask_agent.h"

#include <utility>

#include "agent/control/control.h"
#include "agent/io/http_once.h"
#include "agent/supervisor/handover.h"

namespace lastlight::cli {

std::expected<Json, std::string> ask_agent(const std::string& method, const std::string& target,
                                           const std::string& body) {
  const std::string path = Control::path_in(handover::directory_path());
  HttpRequest request{.method = method, .url = "http://lastlight" + target, .body = body, .unix_socket = path};
  if (!body.empty()) request.headers.push_back({"Content-Type", "application/json"});
  const HttpReply reply = io::http_once(std::move(request));
  if (reply.status == 0)
    return std::unexpected("no agent answers at " + path + " (" + reply.error +
                           "); ask in the agent's pod, or as root on its node");
  auto document = parse_json(reply.body);
  if (reply.ok() && document) return std::move(*document);
  const std::string why = document ? string_at(*document, "error") : std::string();
  return std::unexpected(why.empty() ? "the agent answered with status " + std::to_string(reply.status) : why);
}

}  // namespace lastlight::cli
