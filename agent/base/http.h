// HTTP as values. Cores return an HttpRequest and are handed an HttpReply; agent/io/http_client carries them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/time.h"

namespace lastlight {

struct HttpHeader {
  std::string name;
  std::string value;
  bool operator==(const HttpHeader&) const = default;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url = {};  // absolute: scheme, host, path and query
  std::vector<HttpHeader> headers = {};
  std::string body = {};
  Duration timeout =
      std::chrono::seconds(5);  // of the whole exchange; a streamed reply counts as alive while bytes come
  Duration connect_timeout = std::chrono::seconds(2);
  std::string unix_socket = {};       // the path of one: it is connected to whatever the URL's host is
  std::string proxy = {};             // http://[USER:PASSWORD@]HOST[:PORT]; empty: none, whatever the environment says
  std::uint64_t max_body = 1U << 20;  // bytes; a longer reply is an error, never a truncated success
  bool operator==(const HttpRequest&) const = default;
};

struct HttpReply {
  int status = 0;  // 0: no reply was received, `error` says why
  std::vector<HttpHeader> headers = {};
  std::string body = {};
  std::string error = {};

  bool ok() const { return status >= 200 && status < 300; }
  // The first header of that name, ASCII case ignored (RFC 9110 s5.1); empty if absent.
  std::string_view header(std::string_view name) const;
};

// RFC 3986 s2.1: everything but the unreserved characters.
std::string percent_encode(std::string_view text);
std::string percent_decode(std::string_view text);  // a `%` that two hexadecimal digits do not follow stands for itself

}  // namespace lastlight
