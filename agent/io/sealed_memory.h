// Memory with a descriptor (memfd_create(2)), to be passed from one process to another: written in pieces, then sealed,
// so that whoever maps it need not fear that it changes or shrinks below him.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "agent/base/bytes.h"
#include "agent/io/file_descriptor.h"

namespace lastlight::io {

class SealedMemory {
 public:
  static std::expected<FileDescriptor, std::string> create(const char* name);
  static bool append(const FileDescriptor& memory, ByteView octets);
  static bool seal(const FileDescriptor& memory);  // nothing can be written from here on

  // All of it; on failure why not: it is larger than `most`, or not sealed.
  static std::expected<SealedMemory, std::string> map(const FileDescriptor& memory, Bytes most);
  SealedMemory(SealedMemory&& other) noexcept;
  SealedMemory& operator=(SealedMemory&&) = delete;
  ~SealedMemory();
  ByteView octets() const { return octets_; }

 private:
  explicit SealedMemory(ByteView octets) : octets_(octets) {}
  ByteView octets_;
};

}  // namespace lastlight::io
