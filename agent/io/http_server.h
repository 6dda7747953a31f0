// The only door to libmicrohttpd: a small HTTP/1.1 server on the one event loop, for metrics, probes and local notices.
// Never starts a thread, never blocks, never speaks TLS. GET, HEAD (a GET whose body is not sent) and POST; else 405.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/base/address.h"
#include "agent/base/http.h"
#include "agent/io/listening_socket.h"
#include "agent/io/loop.h"

namespace lastlight::io {

struct HttpServerOptions {
  std::uint32_t max_connections = 64;                // further ones wait in the kernel's backlog until one closes
  Duration idle_timeout = std::chrono::seconds(15);  // without a byte received or sent; whole seconds, at least one
  std::uint64_t max_body = 64U << 10;                // a longer body gets 413; above 1 MiB the connection is cut
  std::uint32_t max_per_client = 0;  // connections of one address; those above it are closed at once; 0: no limit
  std::size_t buffer = 32U << 10;    // of each connection, for the request's line and headers and the reply's
  SocketSource sockets = open_listening_socket;
};

struct HttpServerCounters {
  std::uint64_t connections = 0;  // accepted
  std::uint64_t requests = 0;     // handed to the handler
  std::uint64_t rejected = 0;     // 403, 405, 413 and connections cut
};

class HttpServer {
 public:
  // The request's `url` is its target as sent: path and query, not decoded. A reply with status 0 is sent as 500.
  using Handler = std::move_only_function<HttpReply(const HttpRequest&)>;

  // For replies that come later: none leaves the request open until reply(), or until the client has gone, which
  // `gone` is told. `id` is never used again.
  using RequestId = std::uint64_t;
  using OpenHandler =
      std::move_only_function<std::optional<HttpReply>(const HttpRequest&, const IpAddress& client, RequestId id)>;
  using Gone = std::move_only_function<void(RequestId id)>;

  // Listens at once; port 0 takes a free one. Throws std::runtime_error if it cannot.
  HttpServer(Loop& loop, const Endpoint& listen, Handler handler, HttpServerOptions options = {});
  HttpServer(Loop& loop, const Endpoint& listen, OpenHandler handler, Gone gone, HttpServerOptions options = {});
  // The same, for an address that may not be there: the reason instead of an exception.
  static std::expected<std::unique_ptr<HttpServer>, std::string> open(Loop& loop, const Endpoint& listen,
                                                                      OpenHandler handler, Gone gone,
                                                                      HttpServerOptions options = {});
  // On a listening Unix socket, for whoever is root or of our own user: others get 403.
  static std::expected<std::unique_ptr<HttpServer>, std::string> open_local(Loop& loop, FileDescriptor listening,
                                                                            Handler handler,
                                                                            HttpServerOptions options = {});
  ~HttpServer();  // closes every connection; not from inside the handler
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  void reply(RequestId id, HttpReply reply);  // ignored where nobody waits

  std::uint16_t port() const;
  const HttpServerCounters& counters() const;

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  static OpenHandler at_once(Handler handler);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lastlight::io
