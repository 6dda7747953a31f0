#include "agent/io/timer.h"

#include <algorithm>

namespace lastlight::io {

Timer::Timer(Loop& loop, std::move_only_function<void()> fired) : loop_(loop), fired_(std::move(fired)), handle_(this) {
  uv_timer_init(loop.raw(), handle_.get());
  handle_.mark_initialised();
}

void Timer::start_in(Duration delay) {
  const Instant now = loop_.refresh();
  due_ = now + std::max(delay, Duration::zero());
  arm(now);
}

void Timer::start_at(Instant when) {
  if (when == kNever) return stop();
  due_ = when;
  arm(loop_.refresh());
}

void Timer::arm(Instant now) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(std::max(due_ - now, Duration::zero()));
  uv_update_time(loop_.raw());
  uv_timer_start(
      handle_.get(),
      [](uv_timer_t* h) noexcept {
        Timer* self = Handle<uv_timer_t, Timer>::owner(h);
        if (self == nullptr) return;
        const Instant woken = self->loop_.refresh();
        if (woken < self->due_) return self->arm(woken);
        self->fired_();
      },
      static_cast<std::uint64_t>(ms.count()), 0);
}

void Timer::stop() {
  uv_timer_stop(handle_.get());
}
void Timer::unref() {
  uv_unref(handle_.as_handle());
}

}  // namespace lastlight::io
