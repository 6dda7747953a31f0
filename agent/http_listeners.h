// The two HTTP listeners beside the notices': metrics and probes on the node's address, the status page on loopback.
// Their sockets come from the supervisor, so that a successor goes on with them.
#pragma once

#include <memory>

#include "agent/config.h"
#include "agent/http/routes.h"
#include "agent/io/http_server.h"
#include "agent/io/listening_socket.h"
#include "agent/io/loop.h"

namespace lastlight {

class HttpListeners {
 public:
  HttpListeners(io::Loop& loop, http::Sources sources, io::SocketSource sockets);

  // Throws std::runtime_error if metrics cannot be served; without a status page the agent lives, and says so.
  void start(const HttpConfig& config);
  void stop();

 private:
  io::HttpServerOptions options() const;

  io::Loop& loop_;
  const http::Sources sources_;
  const io::SocketSource sockets_;
  std::unique_ptr<io::HttpServer> metrics_;
  std::unique_ptr<io::HttpServer> status_;
};

}  // namespace lastlight
