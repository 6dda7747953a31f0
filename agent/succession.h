// A supervisor's part in the handover (agent/handover): its sockets from the one before it, and to the one after it,
// whose standby it then is. One predecessor and one successor at a time, one message each per packet.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>

#include <poll.h>

#include "agent/held_sockets.h"
#include "agent/io/file_descriptor.h"

namespace lastlight {

class Succession {
 public:
  // `standby`: a successor serves, or (false) it is gone and it is our turn again.
  Succession(HeldSockets& held, std::function<void(bool waits)> standby)
      : held_(held), standby_changed_(std::move(standby)) {}

  // The directory in which they meet, and our number there. Without a directory there is no handover.
  void join(std::string directory);

  // From the one before us: its sockets, while it goes on reading them. True: an owner of a later generation serves,
  // and we wait for its end.
  bool adopt();
  // Our worker serves: whoever was before us may stop, and whoever comes next asks us.
  void become_owner();
  bool standby() const { return standby_; }
  void end() { ended_ = true; }  // nothing is resumed any more

  // Its part of the poll: three descriptors, and what is to be read of them.
  std::array<pollfd, 3> waiting() const;
  void on_events(const pollfd* polled);

 private:
  bool receive_sockets();
  void on_predecessor();
  void on_listener();
  void on_successor();
  void give_sockets(std::uint64_t generation);

  HeldSockets& held_;
  std::function<void(bool)> standby_changed_;
  std::string directory_;
  std::uint64_t generation_ = 0;
  bool waits_ = false;  // for an owner of a later generation to end
  io::FileDescriptor predecessor_;
  io::FileDescriptor listener_;
  io::FileDescriptor successor_;
  bool standby_ = false;  // the successor serves
  bool ended_ = false;
};

}  // namespace lastlight
