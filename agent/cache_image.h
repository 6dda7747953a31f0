// The cache's image, as it leaves this process for its successor and comes from its predecessor (dnscache/snapshot): a
// slice per turn of the loop, so that no query waits a millisecond for it, into sealed memory that the supervisors pass
// on. An image that is not whole after kPatience is ended early: what is in use is in it by then.
#pragma once

#include <functional>

#include "agent/io/file_descriptor.h"
#include "agent/io/loop.h"
#include "agent/io/timer.h"
#include "dnscache/forwarder.h"

namespace lastlight {

class CacheImage {
 public:
  // Of the half second that the successor waits.
  static constexpr Duration kPatience = std::chrono::milliseconds(400);

  // `written`: an empty descriptor if it could not be.
  CacheImage(io::Loop& loop, dns::Forwarder& forwarder, std::move_only_function<void(io::FileDescriptor)> written);
  void write();  // what is being written is begun anew

 private:
  void turn();
  void finish(bool good);

  io::Loop& loop_;
  dns::Forwarder& forwarder_;
  std::move_only_function<void(io::FileDescriptor)> written_;
  io::FileDescriptor memory_;
  Instant due_{};
  io::Timer timer_;
};

// Into an empty cache, before it serves; what is wrong with an image is in the log, and the cache stays empty. An empty
// descriptor: there is none.
void restore_cache(const io::FileDescriptor& image, dns::Forwarder& forwarder, io::Loop& loop);

}  // namespace lastlight
