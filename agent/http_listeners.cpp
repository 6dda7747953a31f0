#include "agent/http_listeners.h"

#include <optional>
#include <stdexcept>
#include <utility>

#include "agent/base/log.h"

namespace lastlight {

namespace {

constexpr std::uint16_t kMetricsPort = 9253;
constexpr std::uint16_t kStatusPort = 9254;

std::string listening(const Endpoint& where, const io::HttpServer& server) {
  return Endpoint{where.address, server.port()}.to_string();
}

}  // namespace

HttpListeners::HttpListeners(io::Loop& loop, http::Sources sources, io::SocketSource sockets)
    : loop_(loop), sources_(std::move(sources)), sockets_(std::move(sockets)) {}

io::HttpServerOptions HttpListeners::options() const {
  io::HttpServerOptions out;
  out.sockets = sockets_;
  return out;
}

void HttpListeners::start(const HttpConfig& config) {
  if (!config.listen.empty()) {
    const auto where = Endpoint::parse(config.listen, kMetricsPort);
    if (!where) throw std::runtime_error("http.listen: " + config.listen + " is no IP:PORT");
    metrics_ = std::make_unique<io::HttpServer>(
        loop_, *where, [this](const HttpRequest& request) { return http::route(request, sources_); }, options());
    log::info("http.listening", {{"address", listening(*where, *metrics_)}});
  }
  if (config.status.empty()) return;
  const auto where = Endpoint::parse(config.status, kStatusPort);
  if (!where) throw std::runtime_error("http.status: " + config.status + " is no IP:PORT");
  auto server = io::HttpServer::open(
      loop_, *where,
      [this](const HttpRequest& request, const IpAddress&, io::HttpServer::RequestId) {
        return std::optional(http::status_route(request, sources_));
      },
      [](io::HttpServer::RequestId) {}, options());
  if (!server) {
    log::warn("status.not_listening", {{"address", where->to_string()}, {"error", server.error()}});
    return;
  }
  status_ = std::move(*server);
  log::info("status.listening", {{"address", listening(*where, *status_)}});
}

void HttpListeners::stop() {
  metrics_.reset();
  status_.reset();
}

}  // namespace lastlight
