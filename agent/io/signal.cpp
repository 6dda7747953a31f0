#include "agent/io/signal.h"

namespace lastlight::io {

Signal::Signal(Loop& loop, int number, std::move_only_function<void()> received)
    : received_(std::move(received)), handle_(this) {
  uv_signal_init(loop.raw(), handle_.get());
  handle_.mark_initialised();
  uv_unref(handle_.as_handle());
  uv_signal_start(
      handle_.get(),
      [](uv_signal_t* h, int) noexcept {
        if (Signal* self = Handle<uv_signal_t, Signal>::owner(h)) {
          static_cast<Loop*>(h->loop->data)->refresh();
          self->received_();
        }
      },
      number);
}

}  // namespace lastlight::io
