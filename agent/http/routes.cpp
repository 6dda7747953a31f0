#include "agent/http/routes.h"

#include <string_view>

namespace lastlight::http {

namespace {

HttpReply text(int status, std::string body, std::string_view type = "text/plain; charset=utf-8") {
  return {.status = status, .headers = {{"Content-Type", std::string(type)}}, .body = std::move(body), .error = {}};
}

HttpReply readyz(const Readiness& facts) {
  std::string body = facts.ready() ? "ready\n" : "not ready\n";
  body += facts.sockets_bound ? "sockets: bound\n" : "sockets: not bound\n";
  if (!facts.self_answer_age) {
    body += "self: no answer yet\n";
  } else {
    body += "self: answered " + std::to_string(seconds(*facts.self_answer_age)) + " s ago\n";
  }
  for (const Readiness::Upstream& upstream : facts.upstreams) {
    body += "upstream " + upstream.name + (upstream.healthy ? ": answering\n" : ": not answering\n");
  }
  return text(facts.ready() ? 200 : 503, std::move(body));
}

}  // namespace

HttpReply route(const HttpRequest& request, const Sources& sources) {
  if (request.method != "GET" && request.method != "HEAD") return text(405, "only GET\n");
  const std::string_view url = request.url;
  const std::string_view path = url.substr(0, url.find('?'));
  if (path == "/metrics") return text(200, sources.metrics(), "text/plain; version=0.0.4; charset=utf-8");
  if (path == "/healthz") return text(200, "ok\n");
  if (path == "/readyz") return readyz(sources.readiness());
  return text(404, "no such path; try /metrics, /healthz, /readyz\n");
}

}  // namespace lastlight::http
