#include "agent/io/sealed_memory.h"

#include <algorithm>

#include <fcntl.h>

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::io;

TEST_CASE("What was appended is mapped once it is sealed, and nothing can be appended then") {
  const auto memory = SealedMemory::create("test");
  REQUIRE(memory);
  const ByteBuffer first(5000, 1), second(7, 2);
  REQUIRE(SealedMemory::append(*memory, first));
  REQUIRE(SealedMemory::append(*memory, second));
  CHECK(SealedMemory::map(*memory, mib(1)).error() == "it is not sealed");
  REQUIRE(SealedMemory::seal(*memory));
  CHECK_FALSE(SealedMemory::append(*memory, second));
  const auto mapped = SealedMemory::map(*memory, mib(1));
  REQUIRE(mapped);
  REQUIRE(mapped->octets().size() == 5007);
  CHECK(std::ranges::equal(mapped->octets().first(5000), first));
  CHECK(std::ranges::equal(mapped->octets().last(7), second));
  CHECK(SealedMemory::map(*memory, kib(4)).error() == "its size is 5007");
}

TEST_CASE("What is no such memory is refused") {
  const auto empty = SealedMemory::create("test");
  REQUIRE(SealedMemory::seal(*empty));
  CHECK(SealedMemory::map(*empty, mib(1)).error() == "its size is 0");
  CHECK_FALSE(SealedMemory::map(FileDescriptor(), mib(1)));
  // One that knows no seals, as a file on a disk does not.
  const FileDescriptor device(::open("/dev/zero", O_RDWR | O_CLOEXEC));
  CHECK(SealedMemory::map(device, mib(1)).error() == "it is not sealed");
}
