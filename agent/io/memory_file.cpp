#include "agent/io/memory_file.h"

#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "agent/io/sealed_memory.h"

namespace lastlight::io {

std::expected<FileDescriptor, std::string> memory_file(const char* name, std::string_view text) {
  auto file = SealedMemory::create(name);
  if (!file) return file;
  const ByteView octets(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  if (!SealedMemory::append(*file, octets) || !SealedMemory::seal(*file) || ::lseek(file->get(), 0, SEEK_SET) != 0)
    return std::unexpected(std::string("memfd: ") + std::strerror(errno));
  return file;
}

}  // namespace lastlight::io
