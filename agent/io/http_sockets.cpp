#include "agent/io/http_sockets.h"

#include <unistd.h>

namespace lastlight::io {

void HttpSockets::serve(CURLM* multi) {
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &HttpSockets::on_wanted);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
}

void HttpSockets::close_for(CURL* easy) {
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &HttpSockets::on_close);
  curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
}

int HttpSockets::on_wanted(CURL*, curl_socket_t socket, int what, void* self, void*) noexcept {
  static_cast<HttpSockets*>(self)->want(socket, what);
  return 0;
}

void HttpSockets::want(curl_socket_t socket, int what) {
  if (what == CURL_POLL_REMOVE) return rest(socket);
  Watched& watched = sockets_[socket];
  if (!watched.poll) {
    watched.poll =
        std::make_unique<Poll>(loop_, socket, [this, socket](Poll::Ready ready) { on_ready(socket, ready); });
  }
  watched.wanted = what;
  watch(watched);
}

void HttpSockets::rest(curl_socket_t socket) {
  const auto found = sockets_.find(socket);
  if (found == sockets_.end()) return;
  found->second.wanted = CURL_POLL_NONE;
  if (found->second.watched != CURL_POLL_IN) sockets_.erase(found);  // an idle connection is always writable
}

void HttpSockets::watch(Watched& watched) {
  if (watched.watched == watched.wanted) return;
  watched.watched = watched.wanted;
  watched.poll->watch((watched.wanted & CURL_POLL_IN) != 0, (watched.wanted & CURL_POLL_OUT) != 0);
}

// At once, although this may run inside that Poll's callback: the number may come back with the next socket. That
// callback therefore uses nothing of its own after on_ready().
int HttpSockets::on_close(void* self, curl_socket_t socket) noexcept {
  static_cast<HttpSockets*>(self)->sockets_.erase(socket);
  return ::close(socket);
}

void HttpSockets::on_ready(curl_socket_t socket, Poll::Ready ready) {
  Watched& watched = sockets_.at(socket);
  if (ready.error != 0) watched.watched = CURL_POLL_NONE;  // libuv has stopped
  if (watched.wanted == CURL_POLL_NONE) return static_cast<void>(sockets_.erase(socket));
  ready_(socket, (ready.readable ? CURL_CSELECT_IN : 0) | (ready.writable ? CURL_CSELECT_OUT : 0) |
                     (ready.error != 0 ? CURL_CSELECT_ERR : 0));
  if (ready.error == 0) return;
  // curl, if it still holds the socket, believes it watched.
  if (const auto found = sockets_.find(socket); found != sockets_.end()) watch(found->second);
}

}  // namespace lastlight::io
