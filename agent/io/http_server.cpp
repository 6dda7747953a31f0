#include "agent/io/http_server.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <microhttpd.h>

#include "agent/io/poll.h"
#include "agent/io/timer.h"

namespace lastlight::io {

namespace {

constexpr std::uint64_t kMaxDropped = 1U << 20;

struct Exchange {
  HttpRequest request;
  std::uint64_t body_size = 0;  // received; more than max_body is dropped
  bool begun = false;
};

struct StopDaemon {
  void operator()(MHD_Daemon* daemon) const { MHD_stop_daemon(daemon); }
};

MHD_Result queue(MHD_Connection* connection, const HttpReply& reply) {
  // MHD copies; its interface asks for a pointer to non-const all the same.
  MHD_Response* response =
      MHD_create_response_from_buffer(reply.body.size(), const_cast<char*>(reply.body.data()), MHD_RESPMEM_MUST_COPY);
  if (response == nullptr) return MHD_NO;
  for (const HttpHeader& h : reply.headers)
    MHD_add_response_header(response, h.name.c_str(), h.value.c_str());
  const int status = reply.status == 0 ? 500 : reply.status;
  const MHD_Result result = MHD_queue_response(connection, static_cast<unsigned>(status), response);
  MHD_destroy_response(response);
  return result;
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(Loop& loop, const Endpoint& listen, Handler handler, HttpServerOptions options);
  std::uint16_t port = 0;
  HttpServerCounters counters;

 private:
  void turn();
  MHD_Result begin(MHD_Connection* connection, Exchange& exchange, const char* method);
  MHD_Result take_body(Exchange& exchange, const char* data, std::size_t* size);
  MHD_Result answer(MHD_Connection* connection, Exchange& exchange);

  static void* on_target(void*, const char* target, MHD_Connection*) noexcept;
  static MHD_Result on_request(void* self, MHD_Connection* connection, const char*, const char* method, const char*,
                               const char* data, std::size_t* size, void** exchange) noexcept;
  static void on_completed(void*, MHD_Connection*, void** exchange, MHD_RequestTerminationCode) noexcept;
  static void on_connection(void* self, MHD_Connection*, void**, MHD_ConnectionNotificationCode what) noexcept;

  Handler handler_;
  bool closed_ = false;  // a connection ended in this run
  HttpServerOptions options_;
  std::unique_ptr<MHD_Daemon, StopDaemon> daemon_;
  Timer timer_;
  std::optional<Poll> poll_;  // gone before the daemon closes the descriptor
};

HttpServer::Impl::Impl(Loop& loop, const Endpoint& listen, Handler handler, HttpServerOptions options)
    : handler_(std::move(handler)), options_(options), timer_(loop, [this] { turn(); }) {
  auto socket = options_.sockets({ListeningSocket::Kind::Tcp, listen, Bytes{0}});
  if (!socket) throw std::runtime_error("cannot serve HTTP on " + listen.to_string() + ": " + socket.error());
  port = local_endpoint(socket->get(), listen).port;
  const unsigned flags = MHD_USE_EPOLL | (listen.address.is_v6() ? static_cast<unsigned>(MHD_USE_IPv6) : 0U);
  const auto idle = std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(options_.idle_timeout).count());
  errno = 0;
  daemon_.reset(MHD_start_daemon(flags, port, nullptr, nullptr, &Impl::on_request, this,                        //
                                 MHD_OPTION_LISTEN_SOCKET, socket->get(),                                       //
                                 MHD_OPTION_CONNECTION_LIMIT, static_cast<unsigned>(options_.max_connections),  //
                                 MHD_OPTION_CONNECTION_TIMEOUT, static_cast<unsigned>(idle),                    //
                                 MHD_OPTION_URI_LOG_CALLBACK, &Impl::on_target, this,                           //
                                 MHD_OPTION_NOTIFY_COMPLETED, &Impl::on_completed, nullptr,                     //
                                 MHD_OPTION_NOTIFY_CONNECTION, &Impl::on_connection, this, MHD_OPTION_END));
  if (!daemon_) {
    throw std::runtime_error("cannot serve HTTP on " + listen.to_string() + ": " +
                             (errno != 0 ? std::strerror(errno) : "libmicrohttpd refuses"));
  }
  socket->release();  // the daemon's now
  const MHD_DaemonInfo* epoll = MHD_get_daemon_info(daemon_.get(), MHD_DAEMON_INFO_EPOLL_FD);
  if (epoll == nullptr) throw std::runtime_error("libmicrohttpd does not tell its descriptor");
  poll_.emplace(loop, epoll->epoll_fd, [this](Poll::Ready) { turn(); });
  poll_->watch(true, false);
}

void HttpServer::Impl::turn() {
  // A connection that ends makes room for one that waits, which MHD only looks at on its next run.
  do {
    closed_ = false;
    MHD_run(daemon_.get());
  } while (closed_);
  MHD_UNSIGNED_LONG_LONG wait_ms = 0;
  if (MHD_get_timeout(daemon_.get(), &wait_ms) == MHD_YES) {
    timer_.start_in(std::chrono::milliseconds(wait_ms));
  } else {
    timer_.stop();
  }
}

MHD_Result HttpServer::Impl::begin(MHD_Connection* connection, Exchange& exchange, const char* method) {
  exchange.begun = true;
  exchange.request.method = std::strcmp(method, "HEAD") == 0 ? "GET" : method;
  if (exchange.request.method != "GET" && exchange.request.method != "POST") {
    ++counters.rejected;
    return queue(connection, {.status = 405, .headers = {{"Allow", "GET, HEAD, POST"}}});
  }
  MHD_get_connection_values(
      connection, MHD_HEADER_KIND,
      [](void* headers, MHD_ValueKind, const char* name, const char* value) noexcept {
        static_cast<std::vector<HttpHeader>*>(headers)->push_back({name, value != nullptr ? value : ""});
        return MHD_YES;
      },
      &exchange.request.headers);
  return MHD_YES;
}

// Too long a body is read all the same, up to a limit: a reply sent in the midst of an upload, and the connection
// closed, would reach most clients as a reset.
MHD_Result HttpServer::Impl::take_body(Exchange& exchange, const char* data, std::size_t* size) {
  exchange.body_size += *size;
  if (exchange.body_size > kMaxDropped) {
    ++counters.rejected;
    return MHD_NO;  // closes the connection
  }
  if (exchange.body_size <= options_.max_body) exchange.request.body.append(data, *size);
  *size = 0;
  return MHD_YES;
}

MHD_Result HttpServer::Impl::answer(MHD_Connection* connection, Exchange& exchange) {
  if (exchange.body_size > options_.max_body) {
    ++counters.rejected;
    return queue(connection, {.status = 413});
  }
  ++counters.requests;
  return queue(connection, handler_(exchange.request));
}

// Called with the request line, before on_request: the only place where the target is told as it was sent.
void* HttpServer::Impl::on_target(void*, const char* target, MHD_Connection*) noexcept {
  auto* exchange = new Exchange;
  exchange->request.url = target;
  return exchange;
}

MHD_Result HttpServer::Impl::on_request(void* self, MHD_Connection* connection, const char*, const char* method,
                                        const char*, const char* data, std::size_t* size, void** exchange) noexcept {
  auto& impl = *static_cast<Impl*>(self);
  auto& current = *static_cast<Exchange*>(*exchange);
  if (!current.begun) return impl.begin(connection, current, method);
  if (*size != 0) return impl.take_body(current, data, size);
  return impl.answer(connection, current);
}

void HttpServer::Impl::on_completed(void*, MHD_Connection*, void** exchange, MHD_RequestTerminationCode) noexcept {
  delete static_cast<Exchange*>(std::exchange(*exchange, nullptr));
}

void HttpServer::Impl::on_connection(void* self, MHD_Connection*, void**,
                                     MHD_ConnectionNotificationCode what) noexcept {
  auto& impl = *static_cast<Impl*>(self);
  if (what == MHD_CONNECTION_NOTIFY_STARTED) ++impl.counters.connections;
  if (what == MHD_CONNECTION_NOTIFY_CLOSED) impl.closed_ = true;
}

HttpServer::HttpServer(Loop& loop, const Endpoint& listen, Handler handler, HttpServerOptions options)
    : impl_(std::make_unique<Impl>(loop, listen, std::move(handler), options)) {}
HttpServer::~HttpServer() = default;
std::uint16_t HttpServer::port() const {
  return impl_->port;
}
const HttpServerCounters& HttpServer::counters() const {
  return impl_->counters;
}

}  // namespace lastlight::io
