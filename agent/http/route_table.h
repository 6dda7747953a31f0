// Which part of the agent answers which path: a table that parts add to, and that says what it has (GET /). Pure: a
// handler is called at once and its reply returned. For the control socket; replies are JSON, errors {"error": why}.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "agent/base/http.h"
#include "agent/base/json.h"

namespace lastlight::http {

struct Call {
  const HttpRequest& request;
  std::map<std::string, std::string, std::less<>> parameters;  // of the URL's query, decoded; the last of a name counts

  std::string_view parameter(std::string_view name) const;  // empty if absent
};

HttpReply json_reply(const Json& body, int status = 200);
HttpReply document_reply(std::string document, int status = 200);  // JSON already
HttpReply error_reply(int status, std::string_view why);

class RouteTable {
 public:
  using Handler = std::function<HttpReply(const Call&)>;

  // `path` begins with a slash and is compared whole. Of a method and path added twice the later counts.
  void add(const std::string& method, const std::string& path, Handler handler);
  HttpReply answer(const HttpRequest& request) const;

 private:
  std::map<std::string, std::map<std::string, Handler>> routes_;  // path -> method -> handler
};

}  // namespace lastlight::http
