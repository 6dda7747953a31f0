#include "agent/supervisor/say.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstddef>
#include <cstdio>

#include <unistd.h>

namespace lastlight {

void say(const char* format, ...) {
  std::array<char, 512> line;
  va_list words;
  va_start(words, format);
  const int size = std::vsnprintf(line.data(), line.size(), format, words);
  va_end(words);
  if (size <= 0) return;
  const auto length = std::min(static_cast<std::size_t>(size), line.size() - 1);
  static_cast<void>(!::write(STDERR_FILENO, line.data(), length));
}

}  // namespace lastlight
