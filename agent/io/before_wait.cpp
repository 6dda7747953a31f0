#include "agent/io/before_wait.h"

namespace lastlight::io {

BeforeWait::BeforeWait(Loop& loop, std::move_only_function<void()> run) : run_(std::move(run)), handle_(this) {
  uv_prepare_init(loop.raw(), handle_.get());
  handle_.mark_initialised();
  uv_prepare_start(handle_.get(), [](uv_prepare_t* h) noexcept {
    if (BeforeWait* self = Handle<uv_prepare_t, BeforeWait>::owner(h)) self->run_();
  });
  uv_unref(handle_.as_handle());  // does not keep the loop alive
}

}  // namespace lastlight::io
