#include "agent/cli/status.h"

#include <ostream>
#include <utility>
#include <vector>

#include "agent/io/http_client.h"
#include "agent/io/loop.h"

namespace lastlight::cli {

int status(const Command& command, std::ostream& out, std::ostream& errors) {
  io::Loop loop;
  // The agent asks itself by address; a host name is not looked up here.
  io::HttpClient client(loop, [](const std::string&, io::HttpClient::Resolved done) { done({}); });
  HttpRequest request;
  request.url = command.url + (command.probe == Command::Probe::Ready ? "/readyz" : "/healthz");
  request.timeout = std::chrono::seconds(2);
  HttpReply reply;
  client.send(std::move(request), [&](HttpReply got) {
    reply = std::move(got);
    loop.stop();
  });
  loop.run();
  if (reply.status == 0) {
    errors << "lastlight: no answer from " << command.url << ": " << reply.error << '\n';
    return 1;
  }
  (reply.ok() ? out : errors) << reply.body;
  return reply.ok() ? 0 : 1;
}

}  // namespace lastlight::cli
