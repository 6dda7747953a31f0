#include "agent/io/poll.h"

#include <stdexcept>
#include <string>

namespace lastlight::io {

Poll::Poll(Loop& loop, int fd, std::move_only_function<void(Ready)> ready) : ready_(std::move(ready)), handle_(this) {
  if (const int code = uv_poll_init(loop.raw(), handle_.get(), fd); code != 0) {
    throw std::runtime_error(std::string("cannot poll a descriptor: ") + uv_strerror(code));
  }
  handle_.mark_initialised();
}

void Poll::watch(bool readable, bool writable) {
  if (!readable && !writable) {
    events_ = 0;
    uv_poll_stop(handle_.get());
    return;
  }
  start((readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0));
}

void Poll::watch_hangup() {
  start(UV_DISCONNECT);
}

// libuv leaves the kernel's list at once, and enters it when it is about to wait.
void Poll::rest_to_send(std::size_t datagrams) {
  if (datagrams < kMany) return;
  uv_poll_stop(handle_.get());
  if (events_ != 0) start(events_);
}

void Poll::start(int events) {
  events_ = events;
  uv_poll_start(handle_.get(), events, [](uv_poll_t* h, int status, int happened) noexcept {
    Poll* self = Handle<uv_poll_t, Poll>::owner(h);
    if (self == nullptr) return;
    static_cast<Loop*>(h->loop->data)->refresh();
    self->ready_({.readable = (happened & UV_READABLE) != 0,
                  .writable = (happened & UV_WRITABLE) != 0,
                  .hung_up = (happened & UV_DISCONNECT) != 0,
                  .error = status < 0 ? status : 0});
  });
}

}  // namespace lastlight::io
