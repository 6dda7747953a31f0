#include "agent/io/local_socket.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace lastlight::io {

std::expected<FileDescriptor, std::string> listen_local(const std::string& path, int type) {
  const auto failed = [&] { return std::unexpected(path + ": " + std::strerror(errno)); };
  const std::string unnamed = path + ".new";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (unnamed.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return failed();
  }
  unnamed.copy(address.sun_path, unnamed.size());
  FileDescriptor socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return failed();
  ::unlink(unnamed.c_str());  // of one that was killed here
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return failed();
  if (::chmod(unnamed.c_str(), 0600) != 0 || ::listen(socket.get(), 16) != 0) return failed();
  if (::rename(unnamed.c_str(), path.c_str()) != 0) return failed();
  return socket;
}

bool peer_is_trusted(int socket) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return false;
  return who.uid == 0 || who.uid == ::geteuid();
}

}  // namespace lastlight::io
