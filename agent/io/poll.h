// Readiness of a file descriptor that somebody else owns and closes after this object is gone.
#pragma once

#include <cstddef>
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
  // So many datagrams are about to be sent: if they are many, out of the kernel's sight until the loop waits again;
  // what is watched stays. Each that leaves a watched socket wakes its watcher, although it was to be told of nothing
  // but what comes, and that is a twentieth of what sending takes.
  void rest_to_send(std::size_t datagrams);
  static constexpr std::size_t kMany = 16;  // for fewer it costs more than it saves

 private:
  void start(int events);
  std::move_only_function<void(Ready)> ready_;
  int events_ = 0;  // watched
  Handle<uv_poll_t, Poll> handle_;
};

}  // namespace lastlight::io
