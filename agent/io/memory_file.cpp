#include "agent/io/memory_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace lastlight::io {

std::expected<FileDescriptor, std::string> memory_file(const char* name, std::string_view text) {
  FileDescriptor file(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const auto failed = [] { return std::unexpected(std::string("memfd: ") + std::strerror(errno)); };
  if (!file) return failed();
  for (std::string_view rest = text; !rest.empty();) {
    const ssize_t size = ::write(file.get(), rest.data(), rest.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed();
    rest.remove_prefix(static_cast<std::size_t>(size));
  }
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (::fcntl(file.get(), F_ADD_SEALS, kSeals) != 0 || ::lseek(file.get(), 0, SEEK_SET) != 0) return failed();
  return file;
}

}  // namespace lastlight::io
