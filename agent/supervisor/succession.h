// A supervisor's part in the handover (handover.h): its sockets and the image of a cache from the one before it,
// and to the one after it, whose standby it then is. One predecessor and one successor at a time, one message each per
// packet.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>

#include <poll.h>

#include "agent/io/file_descriptor.h"
#include "agent/supervisor/held_sockets.h"

namespace lastlight {

class Succession {
 public:
  // `standby`: a successor serves, or (false) it is gone and it is our turn again. `image_wanted`: it waits for
  // give_image().
  Succession(HeldSockets& held, std::function<void(bool waits)> standby, std::function<void()> image_wanted)
      : held_(held), standby_changed_(std::move(standby)), image_wanted_(std::move(image_wanted)) {}

  // The directory in which they meet, and our number there. Without a directory there is no handover.
  void join(std::string directory);

  // From the one before us: its sockets, while it goes on reading them. True: an owner of a later generation serves, or
  // the one before us has another successor on the way, or ends: we are to ask again.
  bool adopt();
  // Our worker serves: whoever was before us may stop, and whoever comes next asks us.
  void become_owner();
  // Our predecessor's; for the first worker alone, since a cache may be what made it crash.
  io::FileDescriptor take_image() { return std::move(image_); }
  void give_image(const io::FileDescriptor& image);  // our worker's; an empty one: there is none
  bool standby() const { return standby_; }
  // The lease and the link are ours to remove: nobody before us serves still, nobody after us already.
  bool owns() const { return !standby_ && (serves_ || !predecessor_); }
  void end() { ended_ = true; }  // nothing is resumed any more

  // Its part of the poll: three descriptors, and what is to be read of them.
  std::array<pollfd, 3> waiting() const;
  void on_events(const pollfd* polled);

 private:
  bool receive_sockets();
  void receive_image();
  void on_predecessor();
  void on_listener();
  void on_successor();
  void stand_by();
  void give_sockets(std::uint64_t generation);

  HeldSockets& held_;
  std::function<void(bool)> standby_changed_;
  std::function<void()> image_wanted_;
  std::string directory_;
  std::uint64_t generation_ = 0;
  bool waits_ = false;  // what adopt() returns
  io::FileDescriptor image_;
  io::FileDescriptor predecessor_;
  io::FileDescriptor listener_;
  io::FileDescriptor successor_;
  bool serves_ = false;      // our worker did
  bool standby_ = false;     // the successor serves
  bool superseded_ = false;  // it did: its own successor serves now, and its end is no turn of ours
  bool ended_ = false;
};

}  // namespace lastlight
