#include "agent/io/http_client.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include <curl/curl.h>
#include <signal.h>

#include "agent/io/poll.h"
#include "agent/io/timer.h"

namespace lastlight::io {

namespace {

constexpr std::size_t kMaxHeaderBytes = 64U << 10;

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Easy = std::unique_ptr<CURL, FreeEasy>;
using List = std::unique_ptr<curl_slist, FreeList>;

void append(List& list, const std::string& line) {
  if (curl_slist* grown = curl_slist_append(list.get(), line.c_str()); grown != nullptr) {
    static_cast<void>(list.release());
    list.reset(grown);
  }
}

// curl needs its global state once per process, before the first handle. It is told not to touch signals
// (CURLOPT_NOSIGNAL), so a peer that closes while TLS writes would raise SIGPIPE: ignored, unless somebody handles it.
void initialise_curl() {
  static const CURLcode code = [] {
    struct sigaction old{};
    if (sigaction(SIGPIPE, nullptr, &old) == 0 && old.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
    return curl_global_init(CURL_GLOBAL_DEFAULT);
  }();
  if (code != CURLE_OK) throw std::runtime_error(std::string("libcurl cannot start: ") + curl_easy_strerror(code));
}

struct Origin {
  std::string scheme;
  std::string host;  // IPv6 literals without brackets
  std::string port;
  bool literal = false;

  std::string to_string() const {
    return scheme + "://" + (host.find(':') == std::string::npos ? host : '[' + host + ']') + ':' + port;
  }
};

// Parsed by curl itself: what it makes of the host is what it will look for in its cache of names.
std::optional<Origin> parse_origin(const std::string& url) {
  const std::unique_ptr<CURLU, FreeUrl> parsed(curl_url());
  if (!parsed || curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return std::nullopt;
  const auto part = [&](CURLUPart which, unsigned flags) {
    char* text = nullptr;
    std::string copy;
    if (curl_url_get(parsed.get(), which, &text, flags) == CURLUE_OK) copy = text;
    curl_free(text);
    return copy;
  };
  Origin origin{.scheme = part(CURLUPART_SCHEME, 0),
                .host = part(CURLUPART_HOST, 0),
                .port = part(CURLUPART_PORT, CURLU_DEFAULT_PORT)};
  if ((origin.scheme != "http" && origin.scheme != "https") || origin.host.empty()) return std::nullopt;
  if (origin.host.front() == '[') origin.host = origin.host.substr(1, origin.host.size() - 2);
  origin.literal = IpAddress::parse(origin.host).has_value();
  return origin;
}

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\t'; });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && std::string_view(" \t\r\n").contains(text.front()))
    text.remove_prefix(1);
  while (!text.empty() && std::string_view(" \t\r\n").contains(text.back()))
    text.remove_suffix(1);
  return text;
}

std::string in_seconds(Duration d) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g s", seconds(d));
  return text;
}

struct Transfer {
  Transfer(Loop& loop, HttpClient::RequestId number, HttpRequest what, std::move_only_function<void()> expired)
      : id(number), request(std::move(what)), deadline(loop, std::move(expired)) {}

  HttpClient::RequestId id;
  HttpRequest request;
  Timer deadline;  // of the exchange, name lookup included; of silence for a stream
  Origin origin;
  HttpClient::OnHeaders on_headers;
  HttpClient::OnBytes on_bytes;  // set: a stream
  HttpClient::OnReply done;

  List headers;
  List addresses;
  Easy easy;  // freed before the lists it points into
  char error[CURL_ERROR_SIZE] = {};
  bool in_multi = false;

  HttpReply reply;
  std::size_t header_bytes = 0;
  std::string aborted;  // why a callback of curl ended the transfer
  std::string pending;  // streamed bytes not yet handed over: at most what curl reads in one turn
  bool headers_due = false;
  bool queued = false;  // is in ready_
  bool finished = false;
  bool cancelled = false;

  bool streams() const { return static_cast<bool>(on_bytes); }
};

}  // namespace

class HttpClient::Impl {
 public:
  Impl(Loop& loop, Resolve resolve, HttpClientOptions options);
  ~Impl();
  RequestId start(HttpRequest request, OnHeaders on_headers, OnBytes on_bytes, OnReply done);
  void cancel(RequestId id);
  HttpClientCounters counters;

 private:
  struct Watched {
    std::unique_ptr<Poll> poll;
    int what = CURL_POLL_NONE;
  };

  void look_up_or_connect(Transfer& transfer);
  void connect(Transfer& transfer, const std::vector<IpAddress>& addresses);
  void configure(Transfer& transfer);
  void set_method(Transfer& transfer);
  void set_headers(Transfer& transfer);
  void on_resolved(RequestId id, const std::vector<IpAddress>& addresses);
  void on_ready(curl_socket_t socket, Poll::Ready ready);
  void act(curl_socket_t socket, int flags);
  void collect();
  void finish(Transfer& transfer, CURLcode code);
  void fail(Transfer& transfer, const std::string& why);
  void expire(RequestId id);
  void detach(Transfer& transfer);
  void enqueue(Transfer& transfer);
  void deliver();
  void deliver_one(Transfer& transfer);

  static int watch_socket(CURL*, curl_socket_t socket, int what, void* self, void*) noexcept;
  static int set_timer(CURLM*, long timeout_ms, void* self) noexcept;
  static std::size_t take_header(char* data, std::size_t, std::size_t size, void* transfer) noexcept;
  static std::size_t take_body(char* data, std::size_t, std::size_t size, void* transfer) noexcept;

  Loop& loop_;
  Resolve resolve_;
  HttpClientOptions options_;
  CURLM* multi_ = nullptr;
  Timer curl_timer_;
  Timer soon_;  // delivers what was decided outside curl's events
  std::unordered_map<curl_socket_t, Watched> sockets_;
  std::unordered_map<RequestId, std::unique_ptr<Transfer>> transfers_;
  std::vector<RequestId> ready_;                    // have something to hand over
  std::vector<std::unique_ptr<Transfer>> retired_;  // ended while delivering: their callbacks may be on the stack
  RequestId last_id_ = 0;
  bool delivering_ = false;
};

HttpClient::Impl::Impl(Loop& loop, Resolve resolve, HttpClientOptions options)
    : loop_(loop),
      resolve_(std::move(resolve)),
      options_(std::move(options)),
      curl_timer_(loop, [this] { act(CURL_SOCKET_TIMEOUT, 0); }),
      soon_(loop, [this] { deliver(); }) {
  initialise_curl();
  multi_ = curl_multi_init();
  if (multi_ == nullptr) throw std::runtime_error("libcurl cannot create a multi handle");
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Impl::watch_socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Impl::set_timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS, static_cast<long>(options_.max_connections));
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options_.max_connections));
}

HttpClient::Impl::~Impl() {
  for (auto& [id, transfer] : transfers_)
    detach(*transfer);
  curl_multi_cleanup(multi_);  // closes the kept connections, which still calls watch_socket
}

HttpClient::RequestId HttpClient::Impl::start(HttpRequest request, OnHeaders on_headers, OnBytes on_bytes,
                                              OnReply done) {
  const RequestId id = ++last_id_;
  ++counters.requests;
  const bool full = transfers_.size() >= options_.max_requests;
  auto& transfer =
      *transfers_.emplace(id, std::make_unique<Transfer>(loop_, id, std::move(request), [this, id] { expire(id); }))
           .first->second;
  transfer.on_headers = std::move(on_headers);
  transfer.on_bytes = std::move(on_bytes);
  transfer.done = std::move(done);
  if (full) {
    ++counters.refused;
    fail(transfer, "too many requests are unfinished (" + std::to_string(options_.max_requests) + ')');
    return id;
  }
  transfer.deadline.start_in(transfer.request.timeout);
  look_up_or_connect(transfer);
  return id;
}

void HttpClient::Impl::look_up_or_connect(Transfer& transfer) {
  const auto origin = parse_origin(transfer.request.url);
  if (!origin) return fail(transfer, "not an http or https URL: " + transfer.request.url);
  transfer.origin = *origin;
  const auto& headers = transfer.request.headers;
  if (has_control(transfer.request.method) || std::ranges::any_of(headers, [](const HttpHeader& h) {
        return h.name.empty() || has_control(h.name) || has_control(h.value);
      })) {
    return fail(transfer, "a control character in the request's method or headers");
  }
  if (origin->literal) return connect(transfer, {});
  resolve_(origin->host,
           [this, id = transfer.id](const std::vector<IpAddress>& addresses) { on_resolved(id, addresses); });
}

void HttpClient::Impl::on_resolved(RequestId id, const std::vector<IpAddress>& addresses) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return;  // cancelled meanwhile
  Transfer& transfer = *found->second;
  if (transfer.finished || transfer.in_multi) return;  // timed out meanwhile, or called back twice
  if (addresses.empty()) return fail(transfer, "the name " + transfer.origin.host + " has no address");
  connect(transfer, addresses);
}

void HttpClient::Impl::connect(Transfer& transfer, const std::vector<IpAddress>& addresses) {
  transfer.easy.reset(curl_easy_init());
  if (!transfer.easy) return fail(transfer, "libcurl cannot create a handle");
  if (!addresses.empty()) {
    // HOST:PORT:ADDRESS[,ADDRESS]...: replaces what the multi handle knew of that name, and does not age.
    std::string line = transfer.origin.host + ':' + transfer.origin.port + ':';
    for (const IpAddress& address : addresses) {
      if (line.back() != ':') line += ',';
      line += address.is_v6() ? '[' + address.to_string() + ']' : address.to_string();
    }
    append(transfer.addresses, line);
  }
  configure(transfer);
  set_method(transfer);
  set_headers(transfer);
  if (const CURLMcode code = curl_multi_add_handle(multi_, transfer.easy.get()); code != CURLM_OK) {
    return fail(transfer, curl_multi_strerror(code));
  }
  transfer.in_multi = true;
}

void HttpClient::Impl::configure(Transfer& transfer) {
  CURL* easy = transfer.easy.get();
  const auto connect_ms = std::chrono::ceil<std::chrono::milliseconds>(transfer.request.connect_timeout).count();
  curl_easy_setopt(easy, CURLOPT_URL, transfer.request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_PRIVATE, &transfer);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer.error);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connect_ms));
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!options_.ca_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
    curl_easy_setopt(easy, CURLOPT_CAPATH, nullptr);        // else the system's authorities would be trusted as well
    curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 60L);  // the default keeps a rotated file's old content for a day
  }
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Impl::take_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Impl::take_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  if (transfer.addresses) {
    curl_easy_setopt(easy, CURLOPT_RESOLVE, transfer.addresses.get());
    // Should curl still want to look the name up, it would start a thread: refuse.
    curl_easy_setopt(easy, CURLOPT_RESOLVER_START_FUNCTION, +[](void*, void*, void*) noexcept -> int { return 1; });
  }
}

void HttpClient::Impl::set_method(Transfer& transfer) {
  CURL* easy = transfer.easy.get();
  const HttpRequest& request = transfer.request;
  const bool carries_body = !request.body.empty() || request.method == "POST" || request.method == "PUT" ||
                            request.method == "PATCH";  // these announce an empty body too (RFC 9110 s8.6)
  if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (carries_body) {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.c_str());
  } else {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
  }
  if (request.method != "HEAD") curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
}

void HttpClient::Impl::set_headers(Transfer& transfer) {
  // What curl would add of itself to a request with a body: a wait for 100 Continue, and a form's content type.
  append(transfer.headers, "Expect:");
  HttpReply given;
  given.headers = transfer.request.headers;
  if (given.header("content-type").empty()) append(transfer.headers, "Content-Type:");
  if (given.header("user-agent").empty()) append(transfer.headers, "User-Agent: lastlight");
  for (const HttpHeader& h : given.headers)
    append(transfer.headers, h.value.empty() ? h.name + ';' : h.name + ": " + h.value);
  curl_easy_setopt(transfer.easy.get(), CURLOPT_HTTPHEADER, transfer.headers.get());
}

// --- what curl calls ---

int HttpClient::Impl::watch_socket(CURL*, curl_socket_t socket, int what, void* self, void*) noexcept {
  auto* impl = static_cast<Impl*>(self);
  if (what == CURL_POLL_REMOVE) {
    // At once, although this may run inside that Poll's callback: curl closes the socket next, and its number may come
    // back. The callback below therefore uses nothing of its own after on_ready().
    impl->sockets_.erase(socket);
    return 0;
  }
  Watched& watched = impl->sockets_[socket];
  watched.what = what;
  if (!watched.poll) {
    watched.poll = std::make_unique<Poll>(impl->loop_, socket,
                                          [impl, socket](Poll::Ready ready) { impl->on_ready(socket, ready); });
  }
  watched.poll->watch((what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0);
  return 0;
}

int HttpClient::Impl::set_timer(CURLM*, long timeout_ms, void* self) noexcept {
  Timer& timer = static_cast<Impl*>(self)->curl_timer_;
  if (timeout_ms < 0) {
    timer.stop();
  } else {
    timer.start_in(std::chrono::milliseconds(timeout_ms));
  }
  return 0;
}

std::size_t HttpClient::Impl::take_header(char* data, std::size_t, std::size_t size, void* to) noexcept {
  auto& transfer = *static_cast<Transfer*>(to);
  const std::string_view line = trim({data, size});
  transfer.header_bytes += size;
  if (transfer.header_bytes > kMaxHeaderBytes) {
    transfer.aborted = "the reply has more than " + std::to_string(kMaxHeaderBytes) + " bytes of headers";
    return 0;
  }
  if (line.starts_with("HTTP/")) {
    transfer.reply.headers.clear();  // those of an interim reply (RFC 9110 s15.2)
    return size;
  }
  if (line.empty()) {
    long status = 0;
    curl_easy_getinfo(transfer.easy.get(), CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && transfer.reply.status == 0) {  // once: the line after trailers is empty too
      transfer.reply.status = static_cast<int>(status);
      transfer.headers_due = true;
    }
  } else if (const auto colon = line.find(':'); colon != std::string_view::npos) {
    transfer.reply.headers.push_back(
        {std::string(trim(line.substr(0, colon))), std::string(trim(line.substr(colon + 1)))});
  }
  return size;
}

std::size_t HttpClient::Impl::take_body(char* data, std::size_t, std::size_t size, void* to) noexcept {
  auto& transfer = *static_cast<Transfer*>(to);
  if (transfer.streams()) {
    transfer.pending.append(data, size);
    return size;
  }
  if (size >
      transfer.request.max_body - std::min<std::uint64_t>(transfer.request.max_body, transfer.reply.body.size())) {
    transfer.aborted = "the reply is longer than " + std::to_string(transfer.request.max_body) + " bytes";
    return 0;
  }
  transfer.reply.body.append(data, size);
  return size;
}

// --- what the loop calls ---

void HttpClient::Impl::on_ready(curl_socket_t socket, Poll::Ready ready) {
  const int flags = (ready.readable ? CURL_CSELECT_IN : 0) | (ready.writable ? CURL_CSELECT_OUT : 0) |
                    (ready.error != 0 ? CURL_CSELECT_ERR : 0);
  act(socket, flags);
  if (ready.error == 0) return;
  // libuv stops watching on an error; curl, if it still holds the socket, believes it watched.
  if (const auto found = sockets_.find(socket); found != sockets_.end()) {
    found->second.poll->watch((found->second.what & CURL_POLL_IN) != 0, (found->second.what & CURL_POLL_OUT) != 0);
  }
}

void HttpClient::Impl::act(curl_socket_t socket, int flags) {
  int running = 0;
  curl_multi_socket_action(multi_, socket, flags, &running);
  collect();
  deliver();
}

void HttpClient::Impl::collect() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    void* pointer = nullptr;
    const CURLcode code = message->data.result;  // the message dies with the removal of its handle
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &pointer);
    finish(*static_cast<Transfer*>(pointer), code);
  }
  for (auto& [id, transfer] : transfers_) {
    if (transfer->streams() && (transfer->headers_due || !transfer->pending.empty())) enqueue(*transfer);
  }
}

void HttpClient::Impl::finish(Transfer& transfer, CURLcode code) {
  long opened = 0;
  curl_easy_getinfo(transfer.easy.get(), CURLINFO_NUM_CONNECTS, &opened);
  counters.connections += static_cast<std::uint64_t>(std::max(opened, 0L));
  if (code == CURLE_OK) {
    detach(transfer);
    transfer.deadline.stop();
    transfer.finished = true;
    return enqueue(transfer);
  }
  if (code == CURLE_OPERATION_TIMEDOUT) ++counters.timeouts;
  if (!transfer.aborted.empty()) {
    ++counters.too_large;
    return fail(transfer, transfer.aborted);
  }
  std::string why = transfer.error[0] != '\0' ? transfer.error : curl_easy_strerror(code);
  long error = 0;  // curl's own words leave out what the system said
  curl_easy_getinfo(transfer.easy.get(), CURLINFO_OS_ERRNO, &error);
  if (code == CURLE_COULDNT_CONNECT && error != 0)
    why += std::string(" (") + std::strerror(static_cast<int>(error)) + ')';
  fail(transfer, why);
}

void HttpClient::Impl::expire(RequestId id) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end() || found->second->finished) return;
  Transfer& transfer = *found->second;
  ++counters.timeouts;
  const char* what = transfer.streams() ? "nothing was received for " : "no whole reply within ";
  fail(transfer, (transfer.origin.literal || transfer.in_multi ? what : "the name was not looked up within ") +
                     in_seconds(transfer.request.timeout));
}

void HttpClient::Impl::fail(Transfer& transfer, const std::string& why) {
  detach(transfer);
  transfer.deadline.stop();
  transfer.reply = {};
  transfer.reply.error = transfer.origin.host.empty() ? why : transfer.origin.to_string() + ": " + why;
  transfer.finished = true;
  transfer.headers_due = false;
  ++counters.failures;
  enqueue(transfer);
  soon_.start_in(Duration::zero());
}

void HttpClient::Impl::detach(Transfer& transfer) {
  if (std::exchange(transfer.in_multi, false)) curl_multi_remove_handle(multi_, transfer.easy.get());
}

void HttpClient::Impl::enqueue(Transfer& transfer) {
  if (!std::exchange(transfer.queued, true)) ready_.push_back(transfer.id);
}

void HttpClient::Impl::cancel(RequestId id) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return;
  detach(*found->second);
  found->second->deadline.stop();
  found->second->cancelled = true;
  retired_.push_back(std::move(found->second));
  transfers_.erase(found);
  if (!delivering_) retired_.clear();
}

void HttpClient::Impl::deliver() {
  if (std::exchange(delivering_, true)) return;
  for (std::size_t i = 0; i < ready_.size(); ++i) {  // grows while callbacks send
    const auto found = transfers_.find(ready_[i]);
    if (found != transfers_.end()) deliver_one(*found->second);
  }
  ready_.clear();
  retired_.clear();
  delivering_ = false;
}

void HttpClient::Impl::deliver_one(Transfer& transfer) {
  transfer.queued = false;
  if (std::exchange(transfer.headers_due, false) && transfer.on_headers) transfer.on_headers(transfer.reply.status);
  if (transfer.cancelled) return;
  if (!transfer.pending.empty()) {
    if (!transfer.finished) transfer.deadline.start_in(transfer.request.timeout);
    const std::string bytes = std::exchange(transfer.pending, {});
    transfer.on_bytes(bytes);
    if (transfer.cancelled) return;
  }
  if (!transfer.finished) return;
  const auto found = transfers_.find(transfer.id);
  retired_.push_back(std::move(found->second));
  transfers_.erase(found);
  if (transfer.done) transfer.done(std::move(transfer.reply));
}

// --- the face ---

HttpClient::HttpClient(Loop& loop, Resolve resolve, HttpClientOptions options)
    : impl_(std::make_unique<Impl>(loop, std::move(resolve), std::move(options))) {}
HttpClient::~HttpClient() = default;

HttpClient::RequestId HttpClient::send(HttpRequest request, OnReply done) {
  return impl_->start(std::move(request), {}, {}, std::move(done));
}

HttpClient::RequestId HttpClient::stream(HttpRequest request, OnHeaders on_headers, OnBytes on_bytes, OnReply done) {
  if (!on_bytes) on_bytes = [](std::string_view) {};
  return impl_->start(std::move(request), std::move(on_headers), std::move(on_bytes), std::move(done));
}

void HttpClient::cancel(RequestId id) {
  impl_->cancel(id);
}
const HttpClientCounters& HttpClient::counters() const {
  return impl_->counters;
}

}  // namespace lastlight::io
