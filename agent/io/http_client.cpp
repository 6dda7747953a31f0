#include "agent/io/http_client.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <unordered_map>
#include <utility>

#include <curl/curl.h>
#include <signal.h>

#include "agent/io/http_sockets.h"
#include "agent/io/http_transfer.h"
#include "agent/io/timer.h"

namespace lastlight::io {

namespace {

constexpr std::size_t kKept = 6;  // what a source asks in turn

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

std::string in_seconds(Duration d) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g s", seconds(d));
  return text;
}

}  // namespace

class HttpClient::Impl {
 public:
  Impl(Loop& loop, Resolve resolve, HttpClientOptions options);
  ~Impl();
  RequestId start(HttpRequest request, OnHeaders on_headers, OnBytes on_bytes, OnReply done);
  void cancel(RequestId id);
  HttpClientCounters counters;

 private:
  std::unique_ptr<Transfer> make(HttpRequest request);
  std::unique_ptr<Transfer> take_kept(const HttpRequest& request);
  void keep_or_drop(std::unique_ptr<Transfer> transfer);
  void look_up_or_connect(Transfer& transfer);
  void connect(Transfer& transfer, const std::vector<IpAddress>& addresses);
  void add(Transfer& transfer);
  void on_resolved(RequestId id, const std::vector<IpAddress>& addresses);
  void act(curl_socket_t socket, int flags);
  void collect();
  void finish(Transfer& transfer, CURLcode code);
  void fail(Transfer& transfer, const std::string& why);
  void expire(RequestId id);
  void detach(Transfer& transfer);
  void enqueue(Transfer& transfer);
  void deliver();
  void deliver_one(Transfer& transfer);

  static int set_timer(CURLM*, long timeout_ms, void* self) noexcept;

  Loop& loop_;
  Resolve resolve_;
  HttpClientOptions options_;
  CURLM* multi_ = nullptr;
  Timer curl_timer_;
  Timer soon_;  // delivers what was decided outside curl's events
  HttpSockets sockets_;
  std::unordered_map<RequestId, std::unique_ptr<Transfer>> transfers_;
  std::vector<RequestId> ready_;                    // have something to hand over
  std::vector<std::unique_ptr<Transfer>> retired_;  // ended while delivering: their callbacks may be on the stack
  std::vector<std::unique_ptr<Transfer>> kept_;     // at most kKept, the last asked last
  RequestId last_id_ = 0;
  bool delivering_ = false;
};

HttpClient::Impl::Impl(Loop& loop, Resolve resolve, HttpClientOptions options)
    : loop_(loop),
      resolve_(std::move(resolve)),
      options_(std::move(options)),
      curl_timer_(loop, [this] { act(CURL_SOCKET_TIMEOUT, 0); }),
      soon_(loop, [this] { deliver(); }),
      sockets_(loop, [this](curl_socket_t socket, int flags) { act(socket, flags); }) {
  initialise_curl();
  multi_ = curl_multi_init();
  if (multi_ == nullptr) throw std::runtime_error("libcurl cannot create a multi handle");
  sockets_.serve(multi_);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Impl::set_timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_MAX_TOTAL_CONNECTIONS, static_cast<long>(options_.max_connections));
  curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options_.max_connections));
}

HttpClient::Impl::~Impl() {
  for (auto& [id, transfer] : transfers_)
    detach(*transfer);
  curl_multi_cleanup(multi_);  // closes the kept connections, which still calls sockets_
}

HttpClient::RequestId HttpClient::Impl::start(HttpRequest request, OnHeaders on_headers, OnBytes on_bytes,
                                              OnReply done) {
  const RequestId id = ++last_id_;
  ++counters.requests;
  const bool full = transfers_.size() >= options_.max_requests;
  std::unique_ptr<Transfer> kept = take_kept(request);
  const bool again = kept != nullptr;
  auto& transfer = *transfers_.emplace(id, again ? std::move(kept) : make(std::move(request))).first->second;
  transfer.id = id;
  transfer.on_headers = std::move(on_headers);
  transfer.on_bytes = std::move(on_bytes);
  transfer.done = std::move(done);
  if (full) {
    ++counters.refused;
    fail(transfer, "too many requests are unfinished (" + std::to_string(options_.max_requests) + ')');
    return id;
  }
  transfer.deadline.start_in(transfer.request.timeout);
  again ? add(transfer) : look_up_or_connect(transfer);
  return id;
}

// --- what is asked again and again: a poll of a metadata service is the same request each second ---

std::unique_ptr<Transfer> HttpClient::Impl::make(HttpRequest request) {
  return std::make_unique<Transfer>(loop_, std::move(request), [this](RequestId id) { expire(id); });
}

std::unique_ptr<Transfer> HttpClient::Impl::take_kept(const HttpRequest& request) {
  const auto found =
      std::ranges::find(kept_, request, [](const auto& each) -> const HttpRequest& { return each->request; });
  if (found == kept_.end()) return nullptr;
  std::unique_ptr<Transfer> transfer = std::move(*found);
  kept_.erase(found);
  return transfer;
}

void HttpClient::Impl::keep_or_drop(std::unique_ptr<Transfer> transfer) {
  if (!transfer->may_be_kept()) return;
  transfer->renew();
  if (kept_.size() >= kKept) kept_.erase(kept_.begin());
  kept_.push_back(std::move(transfer));
}

void HttpClient::Impl::look_up_or_connect(Transfer& transfer) {
  const auto origin = parse_origin(transfer.request.url);
  if (!origin) return fail(transfer, "not an http or https URL: " + transfer.request.url);
  transfer.origin = *origin;
  const auto peer = transfer.request.proxy.empty() ? origin : parse_origin(transfer.request.proxy);
  if (!peer || (!transfer.request.proxy.empty() && peer->scheme != "http")) {
    return fail(transfer, "the proxy is not an http URL");
  }
  transfer.peer = *peer;
  if (!is_sendable(transfer.request)) return fail(transfer, "a control character in the request's method or headers");
  if (peer->literal || !transfer.request.unix_socket.empty()) return connect(transfer, {});
  resolve_(peer->host,
           [this, id = transfer.id](const std::vector<IpAddress>& addresses) { on_resolved(id, addresses); });
}

void HttpClient::Impl::on_resolved(RequestId id, const std::vector<IpAddress>& addresses) {
  const auto found = transfers_.find(id);
  if (found == transfers_.end()) return;  // cancelled meanwhile
  Transfer& transfer = *found->second;
  if (transfer.finished || transfer.in_multi) return;  // timed out meanwhile, or called back twice
  if (addresses.empty()) return fail(transfer, "the name " + transfer.peer.host + " has no address");
  connect(transfer, addresses);
}

void HttpClient::Impl::connect(Transfer& transfer, const std::vector<IpAddress>& addresses) {
  if (!transfer.prepare(addresses, options_.ca_file)) return fail(transfer, "libcurl cannot create a handle");
  sockets_.close_for(transfer.easy.get());
  add(transfer);
}

void HttpClient::Impl::add(Transfer& transfer) {
  if (const CURLMcode code = curl_multi_add_handle(multi_, transfer.easy.get()); code != CURLM_OK) {
    return fail(transfer, curl_multi_strerror(code));
  }
  transfer.in_multi = true;
}

// --- what curl calls ---

int HttpClient::Impl::set_timer(CURLM*, long timeout_ms, void* self) noexcept {
  Timer& timer = static_cast<Impl*>(self)->curl_timer_;
  if (timeout_ms < 0) {
    timer.stop();
  } else {
    timer.start_in(std::chrono::milliseconds(timeout_ms));
  }
  return 0;
}

// --- what the loop calls ---

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
    transfer.finished = transfer.whole = true;
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
  fail(transfer, (transfer.peer.literal || transfer.in_multi ? what : "the name was not looked up within ") +
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
  for (auto& each : retired_)
    keep_or_drop(std::move(each));
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
