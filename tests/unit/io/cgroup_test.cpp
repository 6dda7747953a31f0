#include "agent/io/cgroup.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/support/catch.h"

using namespace lastlight;

namespace {

// A file tree that looks like the kernel's.
struct Tree {
  Tree() : root((std::filesystem::temp_directory_path() / "lastlight-XXXXXX").string()) {
    REQUIRE(mkdtemp(root.data()) != nullptr);
  }
  ~Tree() { std::filesystem::remove_all(root); }
  void put(const std::string& path, const std::string& text) const {
    const std::filesystem::path file(root + path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string root;
};

}  // namespace

TEST_CASE("cgroup v2: the least limit on the way to the root", "[cgroup]") {
  const Tree tree;
  tree.put("/proc/self/cgroup", "0::/kubepods/pod1/agent\n");
  CHECK_FALSE(io::memory_limit(tree.root));
  tree.put("/sys/fs/cgroup/kubepods/pod1/agent/memory.max", "max\n");
  CHECK_FALSE(io::memory_limit(tree.root));
  tree.put("/sys/fs/cgroup/kubepods/memory.max", "1073741824\n");
  CHECK(io::memory_limit(tree.root) == mib(1024));
  tree.put("/sys/fs/cgroup/kubepods/pod1/memory.max", "134217728\n");
  CHECK(io::memory_limit(tree.root) == mib(128));
}

TEST_CASE("in a container the group is the root", "[cgroup]") {
  const Tree tree;
  tree.put("/proc/self/cgroup", "0::/\n");
  tree.put("/sys/fs/cgroup/memory.max", "134217728\n");
  CHECK(io::memory_limit(tree.root) == mib(128));
}

TEST_CASE("cgroup v1: its memory controller, whose lack of a limit is a large number", "[cgroup]") {
  const Tree tree;
  tree.put("/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n");
  tree.put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK_FALSE(io::memory_limit(tree.root));
  tree.put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "67108864\n");
  CHECK(io::memory_limit(tree.root) == mib(64));
}

TEST_CASE("no such files, or nonsense in them, is no limit", "[cgroup]") {
  const Tree tree;
  CHECK_FALSE(io::memory_limit(tree.root));
  tree.put("/proc/self/cgroup", "0:\nx\n::\n0::/a/b");
  tree.put("/sys/fs/cgroup/a/b/memory.max", "a lot");
  CHECK_FALSE(io::memory_limit(tree.root));
}
