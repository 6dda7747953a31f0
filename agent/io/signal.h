// A signal, delivered on the loop.
#pragma once

#include <functional>

#include "agent/io/handle.h"
#include "agent/io/loop.h"

namespace lastlight::io {

class Signal {
 public:
  Signal(Loop& loop, int number, std::move_only_function<void()> received);

 private:
  std::move_only_function<void()> received_;
  Handle<uv_signal_t, Signal> handle_;
};

}  // namespace lastlight::io
