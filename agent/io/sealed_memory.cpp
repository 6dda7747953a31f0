#include "agent/io/sealed_memory.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace lastlight::io {

namespace {

constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

}  // namespace

std::expected<FileDescriptor, std::string> SealedMemory::create(const char* name) {
  FileDescriptor memory(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return std::unexpected(std::string("memfd_create: ") + std::strerror(errno));
  return memory;
}

bool SealedMemory::append(const FileDescriptor& memory, ByteView octets) {
  while (!octets.empty()) {
    const ssize_t written = ::write(memory.get(), octets.data(), octets.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    octets = octets.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

bool SealedMemory::seal(const FileDescriptor& memory) {
  return ::fcntl(memory.get(), F_ADD_SEALS, kSeals) == 0;
}

std::expected<SealedMemory, std::string> SealedMemory::map(const FileDescriptor& memory, Bytes most) {
  const int seals = ::fcntl(memory.get(), F_GET_SEALS);  // -1, all bits set, of a file that cannot be sealed
  if (seals < 0 || (seals & kSeals) != kSeals) return std::unexpected("it is not sealed");
  struct stat about{};
  if (::fstat(memory.get(), &about) != 0) return std::unexpected(std::string("fstat: ") + std::strerror(errno));
  const auto size = static_cast<std::uint64_t>(about.st_size);
  if (size == 0 || size > most.count) return std::unexpected("its size is " + std::to_string(size));
  void* at = ::mmap(nullptr, size, PROT_READ, MAP_SHARED | MAP_POPULATE, memory.get(), 0);
  if (at == MAP_FAILED) return std::unexpected(std::string("mmap: ") + std::strerror(errno));
  return SealedMemory(ByteView(static_cast<const std::uint8_t*>(at), size));
}

SealedMemory::SealedMemory(SealedMemory&& other) noexcept : octets_(std::exchange(other.octets_, {})) {}

SealedMemory::~SealedMemory() {
  if (!octets_.empty()) ::munmap(const_cast<std::uint8_t*>(octets_.data()), octets_.size());
}

}  // namespace lastlight::io
