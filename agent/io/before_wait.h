// A function that runs each time the loop is about to wait: the place to send at once what a turn has gathered.
#pragma once

#include <functional>

#include "agent/io/handle.h"
#include "agent/io/loop.h"

namespace lastlight::io {

class BeforeWait {
 public:
  BeforeWait(Loop& loop, std::move_only_function<void()> run);

 private:
  std::move_only_function<void()> run_;
  Handle<uv_prepare_t, BeforeWait> handle_;
};

}  // namespace lastlight::io
