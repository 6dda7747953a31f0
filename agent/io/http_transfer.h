// One exchange as libcurl sees it: what is asked of curl before it starts, and what curl's callbacks make of the reply.
// http_client.cpp's own; it drives the handle, keeps the deadline and hands the outcome over.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <curl/curl.h>

#include "agent/base/address.h"
#include "agent/base/http.h"
#include "agent/io/http_client.h"
#include "agent/io/timer.h"

namespace lastlight::io {

struct FreeEasy {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Easy = std::unique_ptr<CURL, FreeEasy>;
using List = std::unique_ptr<curl_slist, FreeList>;

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
std::optional<Origin> parse_origin(const std::string& url);

// A method or header with a control character could smuggle a second request.
bool is_sendable(const HttpRequest& request);

struct Transfer {
  Transfer(Loop& loop, HttpRequest what, std::move_only_function<void(HttpClient::RequestId)> expired)
      : request(std::move(what)), deadline(loop, [this, tell = std::move(expired)]() mutable { tell(id); }) {}

  // Makes the handle, ready to be added to a multi handle. `addresses` are those of the peer's name, none if it is a
  // literal. False if libcurl cannot.
  bool prepare(const std::vector<IpAddress>& addresses, const std::string& ca_file);
  bool streams() const { return static_cast<bool>(on_bytes); }
  // A whole reply has come to a request without a body, at an address that does not have to be looked up: what curl
  // was told holds for the same request again, after renew().
  bool may_be_kept() const;
  void renew();

  HttpClient::RequestId id = 0;
  HttpRequest request;
  Timer deadline;  // of the exchange, name lookup included; of silence for a stream
  Origin origin;
  Origin peer;  // whom we connect to: the origin, or the request's proxy
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
  bool queued = false;  // has something to hand over
  bool finished = false;
  bool cancelled = false;
  bool whole = false;  // the reply, as far as curl is concerned

 private:
  void set_addresses(const std::vector<IpAddress>& of_peer);
  void set_options(const std::string& ca_file);
  void set_method();
  void set_headers();
  void set_proxy();
  static std::size_t take_header(char* data, std::size_t, std::size_t size, void* transfer) noexcept;
  static std::size_t take_body(char* data, std::size_t, std::size_t size, void* transfer) noexcept;
};

}  // namespace lastlight::io
