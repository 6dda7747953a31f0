// One owner per libuv handle. libuv's rules: a handle that was initialised must be closed, and its memory may only be
// freed in or after its close callback. So the handle lives in a heap box {handle, owner}; the wrapper's destructor
// clears the owner and closes; the close callback frees the box. A callback that finds no owner does nothing.
#pragma once

#include <uv.h>

namespace lastlight::io {

template <class UvHandle, class Owner>
class Handle {
 public:
  explicit Handle(Owner* owner) : box_(new Box{{}, owner}) { box_->handle.data = box_; }
  ~Handle() {
    if (box_ == nullptr) return;
    box_->owner = nullptr;
    if (box_->initialised) {
      uv_close(as_handle(), [](uv_handle_t* h) noexcept { delete static_cast<Box*>(h->data); });
    } else {
      delete box_;
    }
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  // To be called once uv_*_init succeeded: from then on the handle must be closed, not freed.
  void mark_initialised() { box_->initialised = true; }
  UvHandle* get() { return &box_->handle; }
  uv_handle_t* as_handle() { return reinterpret_cast<uv_handle_t*>(&box_->handle); }
  static Owner* owner(const UvHandle* handle) { return static_cast<Box*>(handle->data)->owner; }

 private:
  struct Box {
    UvHandle handle;
    Owner* owner;
    bool initialised = false;
  };
  Box* box_;
};

}  // namespace lastlight::io
