#include "agent/http_listeners.h"

#include <optional>
#include <stdexcept>
#include <utility>

#include "agent/base/log.h"

namespace lastlight {

HttpListeners::HttpListeners(io::Loop& loop, http::Sources sources, io::SocketSource sockets)
    : loop_(loop), sources_(std::move(sources)), sockets_(std::move(sockets)) {}

HttpListeners::Opened HttpListeners::open(const std::string& address, std::uint16_t port, Route route,
                                          std::string_view event) {
  const auto where = Endpoint::parse(address, port);
  if (!where) return std::unexpected(address + " is no IP:PORT");
  io::HttpServerOptions options;
  options.sockets = sockets_;
  auto server = io::HttpServer::open(
      loop_, *where,
      [this, route](const HttpRequest& request, const IpAddress&, io::HttpServer::RequestId) {
        return std::optional(route(request, sources_));
      },
      [](io::HttpServer::RequestId) {}, std::move(options));
  if (server) log::info(event, {{"address", Endpoint{where->address, (*server)->port()}.to_string()}});
  return server;
}

void HttpListeners::start(const HttpConfig& config) {
  if (!config.listen.empty()) {
    auto server = open(config.listen, 9253, http::route, "http.listening");
    if (!server) throw std::runtime_error(server.error());
    metrics_ = std::move(*server);
  }
  if (config.status.empty()) return;
  auto server = open(config.status, 9254, http::status_route, "status.listening");
  if (!server) return log::warn("status.not_listening", {{"address", config.status}, {"error", server.error()}});
  status_ = std::move(*server);
}

void HttpListeners::stop() {
  metrics_.reset();
  status_.reset();
}

}  // namespace lastlight
