// A one-shot timer that never fires early: libuv counts whole milliseconds from the last one that began, so what is
// left is waited for.
#pragma once

#include <functional>

#include "agent/io/handle.h"
#include "agent/io/loop.h"

namespace lastlight::io {

class Timer {
 public:
  Timer(Loop& loop, std::move_only_function<void()> fired);
  void start_in(Duration delay);  // replaces an earlier start; a negative delay is zero
  void start_at(Instant when);    // kNever stops
  void stop();
  void unref();  // does not keep the loop alive

 private:
  void arm(Instant now);

  Loop& loop_;
  Instant due_{};
  std::move_only_function<void()> fired_;
  Handle<uv_timer_t, Timer> handle_;
};

}  // namespace lastlight::io
