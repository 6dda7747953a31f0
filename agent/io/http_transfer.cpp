#include "agent/io/http_transfer.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace lastlight::io {

namespace {

constexpr std::size_t kMaxHeaderBytes = 64U << 10;

struct FreeUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

void append(List& list, const std::string& line) {
  curl_slist* head = curl_slist_append(list.get(), line.c_str());  // the same once there is one; null: out of memory
  if (head != nullptr && head != list.get()) list.reset(head);
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

}  // namespace

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

bool is_sendable(const HttpRequest& request) {
  return !has_control(request.method) && std::ranges::none_of(request.headers, [](const HttpHeader& h) {
    return h.name.empty() || has_control(h.name) || has_control(h.value);
  });
}

// --- what is asked of curl ---

bool Transfer::prepare(const std::vector<IpAddress>& of_peer, const std::string& ca_file) {
  easy.reset(curl_easy_init());
  if (!easy) return false;
  set_options(ca_file);
  set_proxy();
  set_method();
  set_headers();
  if (!of_peer.empty()) set_addresses(of_peer);
  return true;
}

bool Transfer::may_be_kept() const {
  return whole && !cancelled && !streams() && request.body.empty() && (peer.literal || !request.unix_socket.empty());
}

void Transfer::renew() {
  on_headers = {};
  done = {};
  error[0] = '\0';
  reply = {};
  header_bytes = 0;
  queued = finished = whole = false;
}

void Transfer::set_addresses(const std::vector<IpAddress>& of_peer) {
  // HOST:PORT:ADDRESS[,ADDRESS]...: replaces what the multi handle knew of that name, and does not age.
  std::string line = peer.host + ':' + peer.port + ':';
  for (const IpAddress& address : of_peer) {
    if (line.back() != ':') line += ',';
    line += address.is_v6() ? '[' + address.to_string() + ']' : address.to_string();
  }
  append(addresses, line);
  curl_easy_setopt(easy.get(), CURLOPT_RESOLVE, addresses.get());
  // Should curl still want to look the name up, it would start a thread: refuse.
  curl_easy_setopt(easy.get(), CURLOPT_RESOLVER_START_FUNCTION, +[](void*, void*, void*) noexcept -> int { return 1; });
}

void Transfer::set_options(const std::string& ca_file) {
  const auto connect_ms = std::chrono::ceil<std::chrono::milliseconds>(request.connect_timeout).count();
  curl_easy_setopt(easy.get(), CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_PRIVATE, this);
  if (!request.unix_socket.empty()) curl_easy_setopt(easy.get(), CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_ERRORBUFFER, error);
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_UPLOAD_BUFFERSIZE,
                   16384L);  // the least; 64 KiB by default, for each body of 200 octets
  curl_easy_setopt(easy.get(), CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy.get(), CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy.get(), CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connect_ms));
  curl_easy_setopt(easy.get(), CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(easy.get(), CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!ca_file.empty()) {
    curl_easy_setopt(easy.get(), CURLOPT_CAINFO, ca_file.c_str());
    curl_easy_setopt(easy.get(), CURLOPT_CAPATH, nullptr);  // else the system's authorities would be trusted as well
    // The default keeps a rotated file's old content for a day.
    curl_easy_setopt(easy.get(), CURLOPT_CA_CACHE_TIMEOUT, 60L);
  }
  curl_easy_setopt(easy.get(), CURLOPT_HEADERFUNCTION, &Transfer::take_header);
  curl_easy_setopt(easy.get(), CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &Transfer::take_body);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, this);
}

void Transfer::set_proxy() {
  curl_easy_setopt(easy.get(), CURLOPT_PROXY, request.proxy.c_str());  // empty: none, not the environment's
  curl_easy_setopt(easy.get(), CURLOPT_NOPROXY, "");
  // curl's own default for a proxy is 1080. It was read as a URL's port, so it is a number.
  if (!request.proxy.empty()) {
    curl_easy_setopt(easy.get(), CURLOPT_PROXYPORT, std::strtol(peer.port.c_str(), nullptr, 10));
  }
}

void Transfer::set_method() {
  const bool carries_body = !request.body.empty() || request.method == "POST" || request.method == "PUT" ||
                            request.method == "PATCH";  // these announce an empty body too (RFC 9110 s8.6)
  if (request.method == "HEAD") {
    curl_easy_setopt(easy.get(), CURLOPT_NOBODY, 1L);
  } else if (carries_body) {
    curl_easy_setopt(easy.get(), CURLOPT_POST, 1L);
    curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDS, request.body.c_str());
  } else {
    curl_easy_setopt(easy.get(), CURLOPT_HTTPGET, 1L);
  }
  if (request.method != "HEAD") curl_easy_setopt(easy.get(), CURLOPT_CUSTOMREQUEST, request.method.c_str());
}

void Transfer::set_headers() {
  // What curl would add of itself to a request with a body: a wait for 100 Continue, and a form's content type.
  append(headers, "Expect:");
  HttpReply given;
  given.headers = request.headers;
  if (given.header("content-type").empty()) append(headers, "Content-Type:");
  if (given.header("user-agent").empty()) append(headers, "User-Agent: lastlight");
  for (const HttpHeader& h : given.headers)
    append(headers, h.value.empty() ? h.name + ';' : h.name + ": " + h.value);
  curl_easy_setopt(easy.get(), CURLOPT_HTTPHEADER, headers.get());
}

// --- what curl calls ---

std::size_t Transfer::take_header(char* data, std::size_t, std::size_t size, void* to) noexcept {
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

std::size_t Transfer::take_body(char* data, std::size_t, std::size_t size, void* to) noexcept {
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

}  // namespace lastlight::io
