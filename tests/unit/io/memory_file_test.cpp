#include "agent/io/memory_file.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include "tests/support/catch.h"

using namespace lastlight;

TEST_CASE("a text becomes a file that is read from its start and cannot be changed", "[memory_file]") {
  const std::string text(300000, 'x');  // more than a pipe holds
  const auto file = io::memory_file("test", text);
  REQUIRE(file);
  std::string read(text.size() + 1, '\0');
  CHECK(::read(file->get(), read.data(), read.size()) == static_cast<ssize_t>(text.size()));
  CHECK(read.starts_with(text));
  CHECK(::write(file->get(), "y", 1) < 0);
  CHECK(errno == EPERM);
  CHECK(::ftruncate(file->get(), 0) != 0);
  CHECK((::fcntl(file->get(), F_GETFD) & FD_CLOEXEC) != 0);
}
