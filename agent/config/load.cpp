// The configuration's files, read. What stands in them is read in read.cpp.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "agent/config/file.h"

namespace lastlight {
namespace {

using Unreadable = std::vector<ConfigError>;

std::unexpected<Unreadable> unreadable(const std::string& path, const std::string& why) {
  return std::unexpected(Unreadable{{path, 0, "", why}});
}

// Of a mounted ConfigMap each name is a link into a hidden directory, hence is_regular_file, which follows links.
std::expected<std::vector<std::string>, Unreadable> files_of(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(path, error)) return std::vector{path};
  std::vector<std::string> out;
  for (fs::directory_iterator each(path, error), end; !error && each != end; each.increment(error)) {
    std::error_code gone;
    const std::string name = each->path().filename().string();
    if (name.ends_with(".yaml") && !name.starts_with('.') && each->is_regular_file(gone)) out.push_back(each->path());
  }
  if (error) return unreadable(path, "cannot be read: " + error.message());
  if (out.empty()) return unreadable(path, "has no file *.yaml");
  std::ranges::sort(out);
  return out;
}

}  // namespace

std::expected<std::string, std::string> read_config_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kMaxConfigFile + 1, '\0');
  if (in) in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in.is_open() || in.bad()) return std::unexpected(std::string("cannot be read: ") + std::strerror(errno));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

ConfigResult load_config(const std::string& path, std::span<const ConfigOverride> overrides, const ConfigCheck& check) {
  const auto files = files_of(path);
  if (!files) return std::unexpected(files.error());
  std::vector<ConfigText> texts;
  for (const std::string& file : *files) {
    auto text = read_config_text(file);
    if (!text) return unreadable(file, text.error());
    texts.push_back({file, std::move(*text)});
  }
  return parse_config(texts, overrides, check);
}

}  // namespace lastlight
