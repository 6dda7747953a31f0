// The one event loop, and the only clock. now() is CLOCK_BOOTTIME, read once per turn: a callback sees one instant.
#pragma once

#include <random>

#include <uv.h>

#include "agent/base/time.h"

namespace lastlight::io {

class Loop {
 public:
  Loop();
  ~Loop();  // every handle must have been closed; the loop then turns until their close callbacks ran
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void run();       // until stop() or no handle is left
  bool run_once();  // one turn, waiting for an event; false when no handle is left
  void stop();

  Instant now() const { return now_; }  // of this turn
  Instant refresh();                    // reads the clock: after work that took long
  static Instant read_clock();          // CLOCK_BOOTTIME
  static WallTime read_wall_clock();    // CLOCK_REALTIME, to be shown to people only

  uv_loop_t* raw() { return &loop_; }

 private:
  uv_loop_t loop_;
  uv_check_t check_;  // after the poll: reads the clock before any callback of timers
  uv_prepare_t prepare_;
  Instant now_;
};

}  // namespace lastlight::io
