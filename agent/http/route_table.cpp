#include "agent/http/route_table.h"

#include <utility>

namespace lastlight::http {

namespace {

std::map<std::string, std::string, std::less<>> parse_query(std::string_view text) {
  std::map<std::string, std::string, std::less<>> out;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
    const std::string_view name = pair.substr(0, pair.find('='));
    const std::string_view value = pair.substr(std::min(pair.size(), name.size() + 1));
    if (!name.empty()) out[percent_decode(name)] = percent_decode(value);
  }
  return out;
}

}  // namespace

std::string_view Call::parameter(std::string_view name) const {
  const auto found = parameters.find(name);
  return found == parameters.end() ? std::string_view() : found->second;
}

HttpReply document_reply(std::string document, int status) {
  return {.status = status,
          .headers = {{"Content-Type", "application/json"}},
          .body = std::move(document) + '\n',
          .error = {}};
}

HttpReply json_reply(const Json& body, int status) {
  return document_reply(dump_json(body), status);
}

HttpReply error_reply(int status, std::string_view why) {
  return json_reply({{"error", why}}, status);
}

void RouteTable::add(const std::string& method, const std::string& path, Handler handler) {
  routes_[path][method] = std::move(handler);
}

HttpReply RouteTable::answer(const HttpRequest& request) const {
  const std::string_view url = request.url;
  const std::string_view path = url.substr(0, url.find('?'));
  if (path == "/") {
    Json all = Json::array();
    for (const auto& [where, methods] : routes_) {
      for (const auto& [method, handler] : methods)
        all.push_back(std::string(method).append(" ").append(where));
    }
    return json_reply({{"routes", std::move(all)}});
  }
  const auto found = routes_.find(std::string(path));
  if (found == routes_.end()) return error_reply(404, "no such path; GET / lists those there are");
  const auto handler = found->second.find(request.method);
  if (handler == found->second.end()) return error_reply(405, "not by " + request.method);
  return handler->second({request, parse_query(url.substr(std::min(url.size(), path.size() + 1)))});
}

}  // namespace lastlight::http
