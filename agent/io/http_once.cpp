#include "agent/io/http_once.h"

#include <chrono>
#include <utility>

namespace lastlight::io {

HttpConversation::HttpConversation(const std::string& ca_file)
    : client_(loop_, [](const std::string&, HttpClient::Resolved done) { done({}); }, {.ca_file = ca_file}) {}

HttpReply HttpConversation::ask(HttpRequest request) {
  HttpReply reply;
  client_.send(std::move(request), [&](HttpReply got) {
    reply = std::move(got);
    loop_.stop();
  });
  loop_.run();
  return reply;
}

HttpReply http_once(HttpRequest request, const std::string& ca_file) {
  request.timeout = std::chrono::seconds(2);
  return HttpConversation(ca_file).ask(std::move(request));
}

}  // namespace lastlight::io
