#include "agent/io/loop.h"

#include <stdexcept>

#include <time.h>

namespace lastlight::io {

namespace {

void mark_closed(uv_handle_t*) noexcept {}

}  // namespace

Loop::Loop() : now_(read_clock()) {
  if (uv_loop_init(&loop_) != 0) throw std::runtime_error("libuv cannot create an event loop");
  loop_.data = this;
  // libuv runs timers, then prepare, then waits and calls the watchers, then check. A watcher therefore sees the
  // instant at which the turn began to wait: a Poll refreshes the clock itself before its callback, as a Timer does.
  uv_check_init(&loop_, &check_);
  uv_prepare_init(&loop_, &prepare_);
  uv_check_start(&check_, [](uv_check_t* h) noexcept { static_cast<Loop*>(h->loop->data)->refresh(); });
  uv_prepare_start(&prepare_, [](uv_prepare_t* h) noexcept { static_cast<Loop*>(h->loop->data)->refresh(); });
  uv_unref(reinterpret_cast<uv_handle_t*>(&check_));
  uv_unref(reinterpret_cast<uv_handle_t*>(&prepare_));
}

Loop::~Loop() {
  uv_close(reinterpret_cast<uv_handle_t*>(&check_), mark_closed);
  uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), mark_closed);
  while (uv_loop_close(&loop_) == UV_EBUSY)
    uv_run(&loop_, UV_RUN_ONCE);
}

void Loop::run() {
  uv_run(&loop_, UV_RUN_DEFAULT);
}
bool Loop::run_once() {
  return uv_run(&loop_, UV_RUN_ONCE) != 0;
}
void Loop::stop() {
  uv_stop(&loop_);
}

Instant Loop::refresh() {
  now_ = read_clock();
  return now_;
}

Instant Loop::read_clock() {
  timespec ts{};
  clock_gettime(CLOCK_BOOTTIME, &ts);
  return Instant(std::chrono::seconds(ts.tv_sec) + std::chrono::nanoseconds(ts.tv_nsec));
}

WallTime Loop::read_wall_clock() {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

}  // namespace lastlight::io
