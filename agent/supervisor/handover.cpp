#include "agent/supervisor/handover.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string_view>

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/io/local_socket.h"

namespace lastlight::handover {

namespace {

constexpr std::uint64_t kKept = 16;  // generations whose files stay
constexpr const char* kPrefix = "generation-";
constexpr const char* kSocket = "handover.sock";

std::string path_in(const std::string& directory, std::string_view name) {
  std::string path = directory;
  path.append("/").append(name);
  return path;
}

// File name -> number, of every generation written there.
std::map<std::string, std::uint64_t> written(const std::string& directory) {
  std::map<std::string, std::uint64_t> found;
  DIR* open = ::opendir(directory.c_str());
  if (open == nullptr) return found;
  while (const dirent* entry = ::readdir(open)) {
    const std::string name = entry->d_name;
    if (!name.starts_with(kPrefix)) continue;
    const io::FileDescriptor file(::open(path_in(directory, name).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    char text[24];
    const ssize_t size = ::read(file.get(), text, sizeof text);
    std::uint64_t number = 0;
    if (size > 0) std::from_chars(text, text + size, number);
    found[name] = number;
  }
  ::closedir(open);
  return found;
}

bool is_plain(const std::string& uid) {
  return !uid.empty() && uid.size() <= 64 &&
         std::ranges::all_of(uid, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-'; });
}

}  // namespace

std::string directory_path() {
  const char* given = std::getenv("LASTLIGHT_RUN_DIR");
  return given != nullptr && *given != '\0' ? given : "/run/lastlight";
}

std::string directory() {
  std::string path = directory_path();
  struct stat about{};
  const bool ours = ::stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode) && about.st_uid == ::geteuid();
  if (!ours) return {};
  if ((about.st_mode & 077) != 0 && ::chmod(path.c_str(), 0700) != 0) return {};
  return path;
}

std::uint64_t generation(const std::string& directory) {
  const char* uid = std::getenv("POD_UID");
  const std::string name = kPrefix + (uid != nullptr && is_plain(uid) ? std::string(uid) : std::string("unnamed"));
  const auto known = written(directory);
  if (const auto found = known.find(name); found != known.end() && uid != nullptr && found->second > 0)
    return found->second;
  std::uint64_t latest = 0;
  for (const auto& [file, number] : known)
    latest = std::max(latest, number);
  const std::uint64_t mine = latest + 1;
  for (const auto& [file, number] : known) {
    if (number + kKept < mine) ::unlink(path_in(directory, file).c_str());
  }
  const std::string path = path_in(directory, name);
  const io::FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  const std::string text = std::to_string(mine);
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return 0;
  return mine;
}

io::FileDescriptor connect(const std::string& directory) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = path_in(directory, kSocket);
  if (directory.empty() || path.size() >= sizeof address.sun_path) return {};
  path.copy(address.sun_path, path.size());
  io::FileDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return socket;
}

io::FileDescriptor listen(const std::string& directory) {
  if (directory.empty()) return {};
  return io::listen_local(path_in(directory, kSocket), SOCK_SEQPACKET).value_or(io::FileDescriptor());
}

io::FileDescriptor accept(int listener) {
  for (;;) {
    io::FileDescriptor peer(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer || io::peer_is_trusted(peer.get())) return peer;
  }
}

}  // namespace lastlight::handover
