#include "agent/control/control.h"

#include <utility>

#include <sys/socket.h>

#include "agent/base/log.h"
#include "agent/io/local_socket.h"

namespace lastlight {

Control::Control(io::Loop& loop, std::string directory) : loop_(loop), directory_(std::move(directory)) {}

// The agent serves without it, as it does where the directory is missing.
void Control::serve() {
  if (directory_.empty()) {
    log::info("control.off", {{"why", "the run directory is missing or not this user's"}});
    return;
  }
  auto socket = io::listen_local(path_in(directory_), SOCK_STREAM);
  if (!socket) {
    log::warn("control.not_listening", {{"error", socket.error()}});
    return;
  }
  auto server = io::HttpServer::open_local(loop_, std::move(*socket),
                                           [this](const HttpRequest& request) { return routes_.answer(request); },
                                           {.max_connections = 16});
  if (!server) {
    log::warn("control.not_listening", {{"error", server.error()}});
    return;
  }
  server_ = std::move(*server);
}

}  // namespace lastlight
