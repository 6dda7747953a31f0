#include "agent/io/small_file.h"

#include <filesystem>
#include <fstream>
#include <system_error>

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

bool write_small_file(const std::string& path, const std::string& text) {
  std::error_code error;
  if (text.empty()) return std::filesystem::remove(path, error);
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::filesystem::create_directories(folder, error);
  const std::string fresh = path + ".new";
  {
    std::ofstream out(fresh, std::ios::trunc | std::ios::binary);
    out << text;
    out.flush();
    if (!out) return false;
  }
  std::filesystem::rename(fresh, path, error);
  return !error;
}

}  // namespace lastlight::io
