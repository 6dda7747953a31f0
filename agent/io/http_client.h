// The only door to libcurl (its other half is http_transfer): HTTP/1.1 with keep-alive on the one event loop (curl's
// multi interface, socket callbacks). Never starts a thread: host names are looked up by the function given at
// construction, and curl is forbidden to resolve. Never follows a redirect, takes a proxy from the environment, asks
// for a compressed reply or speaks to an unverified TLS peer. Callbacks run outside curl, from the loop, and never
// inside send() or stream(): in them, everything may be called, except destroying the client.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/http.h"
#include "agent/io/loop.h"

namespace lastlight::io {

struct HttpClientOptions {
  std::string ca_file;                // PEM; only these authorities are trusted. Empty: the system's
  std::uint32_t max_connections = 8;  // open at once; requests above it wait their turn within their timeout
  std::uint32_t max_requests = 1024;  // unfinished at once; one above it fails at once and is counted as refused
};

struct HttpClientCounters {
  std::uint64_t requests = 0;
  std::uint64_t failures = 0;  // completed with status 0, those below included
  std::uint64_t timeouts = 0;
  std::uint64_t too_large = 0;    // replies longer than the request's max_body, or with more than 64 KiB of headers
  std::uint64_t refused = 0;      // above max_requests
  std::uint64_t connections = 0;  // opened, failed attempts included
};

class HttpClient {
 public:
  // Looks up a name; no address means failure. May call back at once or later, but not after the client is gone.
  using Resolved = std::move_only_function<void(std::vector<IpAddress>)>;
  using Resolve = std::move_only_function<void(std::string host, Resolved done)>;
  using RequestId = std::uint64_t;  // never 0, never used again
  using OnReply = std::move_only_function<void(HttpReply)>;
  using OnHeaders = std::move_only_function<void(int status)>;
  using OnBytes = std::move_only_function<void(std::string_view)>;

  HttpClient(Loop& loop, Resolve resolve, HttpClientOptions options = {});
  ~HttpClient();  // drops unfinished requests without calling back
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  RequestId send(HttpRequest request, OnReply done);
  // The body is handed over as it comes, of any status, and is not bounded by max_body; `done` gets status and headers
  // with an empty body. The timeout is the longest silence allowed. A broken stream ends with status 0.
  RequestId stream(HttpRequest request, OnHeaders on_headers, OnBytes on_bytes, OnReply done);
  // None of its callbacks is called any more. An unknown or finished id is ignored.
  void cancel(RequestId id);

  const HttpClientCounters& counters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lastlight::io
