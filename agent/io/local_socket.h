// Unix sockets in a directory that is ours alone: one that listens, and who is at the other end of one.
#pragma once

#include <expected>
#include <string>

#include "agent/io/file_descriptor.h"

namespace lastlight::io {

// A socket of streams (SOCK_STREAM) or of packets (SOCK_SEQPACKET) at `path`, mode 0600, instead of what was there: by
// a rename, so that there is always one to connect to. Whoever may call this is decided elsewhere: two at once would
// take each other's place.
std::expected<FileDescriptor, std::string> listen_local(const std::string& path, int type);

// Its peer is root or our own user (SO_PEERCRED, unix(7)).
bool peer_is_trusted(int socket);

}  // namespace lastlight::io
