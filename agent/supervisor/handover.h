// Where a running agent and its successor on the same node meet: a directory of the host (mode 0700), with a Unix
// socket in it and the number of each pod's generation. A pod that comes later has a higher number and keeps it over
// restarts of its container, so that an older one cannot take the sockets back.
#pragma once

#include <cstdint>
#include <string>

#include "agent/io/file_descriptor.h"

namespace lastlight::handover {

// LASTLIGHT_RUN_DIR, else /run/lastlight.
std::string directory_path();
// The same, narrowed to us; empty when it is not there or not ours alone: then there is no handover.
std::string directory();

// Of this pod (POD_UID): as written there before, or one more than any other's, written now. 0: cannot be known.
std::uint64_t generation(const std::string& directory);

// Packets, non-blocking; empty: nobody listens, or it cannot be done.
io::FileDescriptor connect(const std::string& directory);
io::FileDescriptor listen(const std::string& directory);  // instead of whoever listened before
io::FileDescriptor accept(int listener);  // the next peer of our own user or root; others are turned away

}  // namespace lastlight::handover
