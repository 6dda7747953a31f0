#include "agent/io/small_file.h"

#include <fstream>

namespace lastlight::io {

std::optional<std::string> read_small_file(const std::string& path, std::size_t limit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text(limit + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  const auto size = static_cast<std::size_t>(file.gcount());
  if (size > limit || file.bad()) return std::nullopt;
  text.resize(size);
  return text;
}

std::string read_secret(const std::string& path) {
  std::string text = read_small_file(path).value_or("");
  text.erase(text.find_last_not_of(" \t\r\n") + 1);
  return text;
}

}  // namespace lastlight::io
