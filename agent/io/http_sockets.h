// The descriptors that curl wants watched. http_client.cpp's own.
//
// A watch outlives its exchange: a kept connection is asked again and again, and to end and begin a watch each time
// takes six calls of the kernel. It ends when curl closes the socket, or when a connection that nobody waits for has
// something to say (mostly that its peer has closed it); curl sees that for itself before it asks there again.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include <curl/curl.h>

#include "agent/io/loop.h"
#include "agent/io/poll.h"

namespace lastlight::io {

class HttpSockets {
 public:
  using OnReady = std::move_only_function<void(curl_socket_t, int flags)>;  // flags: CURL_CSELECT_*

  HttpSockets(Loop& loop, OnReady ready) : loop_(loop), ready_(std::move(ready)) {}
  void serve(CURLM* multi);
  void close_for(CURL* easy);  // every handle, before it is added to the multi handle

 private:
  struct Watched {
    std::unique_ptr<Poll> poll;
    int wanted = CURL_POLL_NONE;  // by curl
    int watched = CURL_POLL_NONE;
  };

  void want(curl_socket_t socket, int what);
  void on_ready(curl_socket_t socket, Poll::Ready ready);
  void rest(curl_socket_t socket);
  static void watch(Watched& watched);
  static int on_wanted(CURL*, curl_socket_t socket, int what, void* self, void*) noexcept;
  static int on_close(void* self, curl_socket_t socket) noexcept;

  Loop& loop_;
  OnReady ready_;
  std::unordered_map<curl_socket_t, Watched> sockets_;  // at most as many as the multi handle may have connections
};

}  // namespace lastlight::io
