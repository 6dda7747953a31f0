#include "agent/http_listeners.h"

#include <optional>
#include <stdexcept>
#include <utility>

#include "agent/base/log.h"

namespace lastlight {

HttpListeners::HttpListeners(io::Loop& loop, http::Sources sources, io::SocketSource sockets)
    : loop_(loop), sources_(std::move(sources)), sockets_(std::move(sockets)) {}

HttpListeners::Opened HttpListeners::open(const Endpoint& where, Route route, std::string_view event) {
  io::HttpServerOptions options;
  options.sockets = sockets_;
  auto server = io::HttpServer::open(
      loop_, where,
      [this, route](const HttpRequest& request, const IpAddress&, io::HttpServer::RequestId) {
        return std::optional(route(request, sources_));
      },
      [](io::HttpServer::RequestId) {}, std::move(options));
  if (server) log::info(event, {{"address", Endpoint{where.address, (*server)->port()}.to_string()}});
  return server;
}

HttpListeners::Opened HttpListeners::open_metrics(const AddressSpec& spec, const std::optional<IpAddress>& node_ip) {
  Endpoint where{spec.address, spec.port};
  if (spec.kind == AddressSpec::Kind::Node) {
    // The kubelet may know the node by an address that only a gateway in front of it has.
    const bool here = node_ip && !io::interface_of(*node_ip).empty();
    if (node_ip && !here) log::warn("http.not_on_node", {{"address", node_ip->to_string()}});
    where.address = here ? *node_ip : IpAddress::v4(0);
  }
  return open(where, http::route, "http.listening");
}

void HttpListeners::start(const HttpConfig& config, const std::optional<IpAddress>& node_ip) {
  if (const auto spec = AddressSpec::parse(config.listen, 9253)) {
    auto server = open_metrics(*spec, node_ip);
    if (!server) throw std::runtime_error(server.error());
    metrics_ = std::move(*server);
  }
  const auto where = Endpoint::parse(config.status, 9254);
  if (!where) return;
  auto server = open(*where, http::status_route, "status.listening");
  if (!server) return log::warn("status.not_listening", {{"address", config.status}, {"error", server.error()}});
  status_ = std::move(*server);
}

void HttpListeners::stop() {
  metrics_.reset();
  status_.reset();
}

}  // namespace lastlight
