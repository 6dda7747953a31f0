#include "agent/io/http_server.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <microhttpd.h>

#include "agent/io/local_socket.h"
#include "agent/io/poll.h"
#include "agent/io/timer.h"

namespace lastlight::io {

namespace {

constexpr std::uint64_t kMaxDropped = 1U << 20;

struct Exchange {
  HttpRequest request;
  std::uint64_t body_size = 0;  // received; more than max_body is dropped
  bool begun = false;
  std::optional<HttpReply> reply;  // of one that was left open
};

// A request left open: MHD does not look at its connection, so we do, for a client that has gone.
struct Waiting {
  MHD_Connection* connection;
  Exchange* exchange;
  std::unique_ptr<Poll> hangup;
};

struct StopDaemon {
  // Taken back first: the socket may be shared with a successor, and must be closed, not shut down.
  void operator()(MHD_Daemon* daemon) const {
    const FileDescriptor listening(MHD_quiesce_daemon(daemon));
    MHD_stop_daemon(daemon);
  }
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
  Impl(Loop& loop, OpenHandler handler, Gone gone, HttpServerOptions options);
  ~Impl();
  std::expected<void, std::string> listen(const Endpoint& where);
  std::expected<void, std::string> listen_locally(FileDescriptor socket);
  void reply(RequestId id, HttpReply reply);
  std::uint16_t port = 0;
  HttpServerCounters counters;

 private:
  std::expected<void, std::string> serve(FileDescriptor socket, unsigned flags);
  void turn();
  MHD_Result begin(MHD_Connection* connection, Exchange& exchange, const char* method);
  MHD_Result take_body(Exchange& exchange, const char* data, std::size_t* size);
  MHD_Result answer(MHD_Connection* connection, Exchange& exchange);
  MHD_Result leave_open(MHD_Connection* connection, Exchange& exchange, RequestId id);
  void on_hangup(RequestId id);

  static void* on_target(void*, const char* target, MHD_Connection*) noexcept;
  static MHD_Result on_request(void* self, MHD_Connection* connection, const char*, const char* method, const char*,
                               const char* data, std::size_t* size, void** exchange) noexcept;
  static void on_completed(void*, MHD_Connection*, void** exchange, MHD_RequestTerminationCode) noexcept;
  static void on_connection(void* self, MHD_Connection*, void**, MHD_ConnectionNotificationCode what) noexcept;

  Loop& loop_;
  OpenHandler handler_;
  Gone gone_;
  bool local_ = false;  // a Unix socket: peers have a user
  RequestId last_id_ = 0;
  std::unordered_map<RequestId, Waiting> waiting_;
  bool closed_ = false;  // a connection ended in this run
  HttpServerOptions options_;
  std::unique_ptr<MHD_Daemon, StopDaemon> daemon_;
  Timer timer_;
  std::optional<Poll> poll_;  // gone before the daemon closes the descriptor
};

HttpServer::Impl::Impl(Loop& loop, OpenHandler handler, Gone gone, HttpServerOptions options)
    : loop_(loop),
      handler_(std::move(handler)),
      gone_(std::move(gone)),
      options_(std::move(options)),
      timer_(loop, [this] { turn(); }) {}

std::expected<void, std::string> HttpServer::Impl::listen(const Endpoint& where) {
  const std::string what = "cannot serve HTTP on " + where.to_string() + ": ";
  auto socket = options_.sockets({ListeningSocket::Kind::Tcp, where, Bytes{0}});
  if (!socket) return std::unexpected(what + socket.error());
  port = local_endpoint(socket->get(), where).port;
  auto served = serve(std::move(*socket), where.address.is_v6() ? static_cast<unsigned>(MHD_USE_IPv6) : 0U);
  if (!served) return std::unexpected(what + served.error());
  return {};
}

std::expected<void, std::string> HttpServer::Impl::listen_locally(FileDescriptor socket) {
  local_ = true;
  return serve(std::move(socket), 0);
}

std::expected<void, std::string> HttpServer::Impl::serve(FileDescriptor socket, unsigned flags) {
  flags |= MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME;
  const auto idle = std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(options_.idle_timeout).count());
  errno = 0;
  daemon_.reset(MHD_start_daemon(flags, port, nullptr, nullptr, &Impl::on_request, this,                        //
                                 MHD_OPTION_LISTEN_SOCKET, socket.get(),                                        //
                                 MHD_OPTION_CONNECTION_LIMIT, static_cast<unsigned>(options_.max_connections),  //
                                 MHD_OPTION_CONNECTION_TIMEOUT, static_cast<unsigned>(idle),                    //
                                 MHD_OPTION_PER_IP_CONNECTION_LIMIT, unsigned{options_.max_per_client},         //
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, options_.buffer,                           //
                                 MHD_OPTION_URI_LOG_CALLBACK, &Impl::on_target, this,                           //
                                 MHD_OPTION_NOTIFY_COMPLETED, &Impl::on_completed, nullptr,                     //
                                 MHD_OPTION_NOTIFY_CONNECTION, &Impl::on_connection, this, MHD_OPTION_END));
  if (!daemon_) return std::unexpected(errno != 0 ? std::strerror(errno) : "libmicrohttpd refuses");
  socket.release();  // the daemon's now
  const MHD_DaemonInfo* epoll = MHD_get_daemon_info(daemon_.get(), MHD_DAEMON_INFO_EPOLL_FD);
  if (epoll == nullptr) return std::unexpected("libmicrohttpd does not tell its descriptor");
  poll_.emplace(loop_, epoll->epoll_fd, [this](Poll::Ready) { turn(); });
  poll_->watch(true, false);
  return {};
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
  if (local_) {
    const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == nullptr || !peer_is_trusted(info->connect_fd)) {
      ++counters.rejected;
      return queue(connection, {.status = 403});
    }
  }
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
  if (exchange.reply) return queue(connection, *exchange.reply);
  ++counters.requests;
  const RequestId id = ++last_id_;
  const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  const auto client = info != nullptr ? Endpoint::from_sockaddr(info->client_addr) : std::nullopt;
  const auto reply = handler_(exchange.request, client ? client->address : IpAddress(), id);
  return reply ? queue(connection, *reply) : leave_open(connection, exchange, id);
}

MHD_Result HttpServer::Impl::leave_open(MHD_Connection* connection, Exchange& exchange, RequestId id) {
  const MHD_ConnectionInfo* info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
  if (info == nullptr) return MHD_NO;
  exchange.request = {};  // thousands may wait
  auto hangup = std::make_unique<Poll>(loop_, info->connect_fd, [this, id](Poll::Ready) { on_hangup(id); });
  hangup->watch_hangup();
  waiting_.emplace(id, Waiting{.connection = connection, .exchange = &exchange, .hangup = std::move(hangup)});
  MHD_suspend_connection(connection);
  return MHD_YES;
}

void HttpServer::Impl::reply(RequestId id, HttpReply reply) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return;
  const Waiting waiting = std::move(found->second);
  waiting_.erase(found);
  waiting.exchange->reply = std::move(reply);
  MHD_resume_connection(waiting.connection);
  timer_.start_in(Duration::zero());  // without threads of its own MHD wakes nobody: its next run asks answer() again
}

void HttpServer::Impl::on_hangup(RequestId id) {
  // Queued into a dead connection: MHD notices and closes it. A client that only shut its sending side gets it.
  reply(id, {.status = 503, .headers = {{"Retry-After", "1"}}, .body = {}, .error = {}});
  gone_(id);
}

// MHD must not be stopped while a connection is suspended.
HttpServer::Impl::~Impl() {
  for (auto& [id, waiting] : waiting_) {
    waiting.exchange->reply = HttpReply{.status = 503, .headers = {}, .body = {}, .error = {}};
    waiting.hangup.reset();
    MHD_resume_connection(waiting.connection);
  }
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

HttpServer::OpenHandler HttpServer::at_once(Handler handler) {
  return [handle = std::move(handler)](const HttpRequest& request, const IpAddress&, RequestId) mutable {
    return std::optional(handle(request));
  };
}

HttpServer::HttpServer(Loop& loop, const Endpoint& listen, Handler handler, HttpServerOptions options)
    : HttpServer(loop, listen, at_once(std::move(handler)), [](RequestId) {}, std::move(options)) {}
HttpServer::HttpServer(Loop& loop, const Endpoint& listen, OpenHandler handler, Gone gone, HttpServerOptions options)
    : impl_(std::make_unique<Impl>(loop, std::move(handler), std::move(gone), std::move(options))) {
  if (const auto listening = impl_->listen(listen); !listening) throw std::runtime_error(listening.error());
}
HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::expected<std::unique_ptr<HttpServer>, std::string> HttpServer::open(Loop& loop, const Endpoint& listen,
                                                                         OpenHandler handler, Gone gone,
                                                                         HttpServerOptions options) {
  auto impl = std::make_unique<Impl>(loop, std::move(handler), std::move(gone), std::move(options));
  if (auto listening = impl->listen(listen); !listening) return std::unexpected(std::move(listening.error()));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

std::expected<std::unique_ptr<HttpServer>, std::string> HttpServer::open_local(Loop& loop, FileDescriptor listening,
                                                                               Handler handler,
                                                                               HttpServerOptions options) {
  auto impl = std::make_unique<Impl>(loop, at_once(std::move(handler)), [](RequestId) {}, std::move(options));
  if (auto served = impl->listen_locally(std::move(listening)); !served)
    return std::unexpected(std::move(served.error()));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

void HttpServer::reply(RequestId id, HttpReply reply) {
  impl_->reply(id, std::move(reply));
}
HttpServer::~HttpServer() = default;
std::uint16_t HttpServer::port() const {
  return impl_->port;
}
const HttpServerCounters& HttpServer::counters() const {
  return impl_->counters;
}

}  // namespace lastlight::io
