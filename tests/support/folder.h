// A folder of a test's own, below the system's temporary directory, gone with everything in it at the end.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/catch.h"

namespace lastlight::test {

struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "lastlight-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  // The file's path. `name` may have folders in it; they are made.
  std::string put(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path.string() + '/' + name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    return file;
  }
  std::filesystem::path path;
};

}  // namespace lastlight::test
