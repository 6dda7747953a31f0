#include "agent/cli/status.h"

#include <ostream>
#include <utility>

#include "agent/io/http_once.h"

namespace lastlight::cli {

int status(const Command& command, std::ostream& out, std::ostream& errors) {
  HttpRequest request;
  request.url = command.url + (command.probe == Command::Probe::Ready ? "/readyz" : "/healthz");
  const HttpReply reply = io::http_once(std::move(request));
  if (reply.status == 0) {
    errors << "lastlight: no answer from " << command.url << ": " << reply.error << '\n';
    return 1;
  }
  (reply.ok() ? out : errors) << reply.body;
  return reply.ok() ? 0 : 1;
}

}  // namespace lastlight::cli
