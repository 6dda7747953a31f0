// Readiness of a file descriptor that somebody else owns and closes after this object is gone.
#pragma once

#include <functional>

#include "agent/io/handle.h"
#include "agent/io/loop.h"

namespace lastlight::io {

class Poll {
 public:
  struct Ready {
    bool readable = false;
    bool writable = false;
    bool hung_up = false;  // the peer sends no more
    int error = 0;         // a negative libuv code; 0 when there is none
  };
  Poll(Loop& loop, int fd, std::move_only_function<void(Ready)> ready);
  void watch(bool readable, bool writable);  // neither: stops
  void watch_hangup();                       // that alone

 private:
  void start(int events);
  std::move_only_function<void(Ready)> ready_;
  Handle<uv_poll_t, Poll> handle_;
};

}  // namespace lastlight::io
