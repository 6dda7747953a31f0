// The two HTTP listeners beside the notices': metrics and probes on the node's address, the status page on loopback.
// Where the node's address is not known, or not on this machine, metrics are on all. Their sockets come from the
// supervisor, so that a successor goes on with them.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

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
  void start(const HttpConfig& config, const std::optional<IpAddress>& node_ip);
  void stop();

 private:
  using Route = HttpReply (*)(const HttpRequest& request, const http::Sources& sources);
  using Opened = std::expected<std::unique_ptr<io::HttpServer>, std::string>;
  Opened open(const Endpoint& where, Route route, std::string_view event);
  Opened open_metrics(const AddressSpec& spec, const std::optional<IpAddress>& node_ip);

  io::Loop& loop_;
  const http::Sources sources_;
  const io::SocketSource sockets_;
  std::unique_ptr<io::HttpServer> metrics_;
  std::unique_ptr<io::HttpServer> status_;
};

}  // namespace lastlight
