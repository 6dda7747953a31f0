#include "agent/http/routes.h"

#include <string_view>

#include "agent/http/page.h"

namespace lastlight::http {

namespace {

HttpReply text(int status, std::string body, std::string_view type = "text/plain; charset=utf-8") {
  return {.status = status, .headers = {{"Content-Type", std::string(type)}}, .body = std::move(body), .error = {}};
}

HttpReply readyz(const Readiness& facts) {
  std::string body = facts.ready() ? "ready\n" : "not ready\n";
  if (!facts.serves_dns) return text(200, body + "dns: off\n");
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

std::string_view path_of(const HttpRequest& request) {
  const std::string_view url = request.url;
  return url.substr(0, url.find('?'));
}

bool is_read(const HttpRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

}  // namespace

HttpReply route(const HttpRequest& request, const Sources& sources) {
  if (!is_read(request)) return text(405, "only GET\n");
  const std::string_view path = path_of(request);
  if (path == "/metrics") return text(200, sources.metrics(), "text/plain; version=0.0.4; charset=utf-8");
  if (path == "/healthz") return text(200, "ok\n");
  if (path == "/readyz") return readyz(sources.readiness());
  return text(404, "no such path; try /metrics, /healthz, /readyz\n");
}

HttpReply status_route(const HttpRequest& request, const Sources& sources) {
  if (!is_read(request)) return text(405, "only GET\n");
  const std::string_view path = path_of(request);
  HttpReply reply = path == "/"         ? text(200, std::string(kPage), "text/html; charset=utf-8")
                    : path == "/status" ? text(200, sources.status(), "application/json")
                                        : text(404, "no such path; try / and /status\n");
  reply.headers.emplace_back("Cache-Control", "no-store");
  reply.headers.emplace_back("X-Content-Type-Options", "nosniff");
  reply.headers.emplace_back("Content-Security-Policy",
                             "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
                             "connect-src 'self'; img-src data:; frame-ancestors 'none'");
  return reply;
}

}  // namespace lastlight::http
