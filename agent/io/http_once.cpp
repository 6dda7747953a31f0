#include "agent/io/http_once.h"

#include <chrono>
#include <utility>

#include "agent/io/http_client.h"
#include "agent/io/loop.h"

namespace lastlight::io {

HttpReply http_once(HttpRequest request, const std::string& ca_file) {
  Loop loop;
  HttpClient client(loop, [](const std::string&, HttpClient::Resolved done) { done({}); }, {.ca_file = ca_file});
  request.timeout = std::chrono::seconds(2);
  HttpReply reply;
  client.send(std::move(request), [&](HttpReply got) {
    reply = std::move(got);
    loop.stop();
  });
  loop.run();
  return reply;
}

}  // namespace lastlight::io
