#include "agent/io/cgroup.h"

#include "tests/support/catch.h"
#include "tests/support/folder.h"

using namespace lastlight;

TEST_CASE("cgroup v2: the least limit on the way to the root", "[cgroup]") {
  const test::Folder tree;
  tree.put("/proc/self/cgroup", "0::/kubepods/pod1/agent\n");
  CHECK_FALSE(io::memory_limit(tree.path));
  tree.put("/sys/fs/cgroup/kubepods/pod1/agent/memory.max", "max\n");
  CHECK_FALSE(io::memory_limit(tree.path));
  tree.put("/sys/fs/cgroup/kubepods/memory.max", "1073741824\n");
  CHECK(io::memory_limit(tree.path) == mib(1024));
  tree.put("/sys/fs/cgroup/kubepods/pod1/memory.max", "134217728\n");
  CHECK(io::memory_limit(tree.path) == mib(128));
}

TEST_CASE("in a container the group is the root", "[cgroup]") {
  const test::Folder tree;
  tree.put("/proc/self/cgroup", "0::/\n");
  tree.put("/sys/fs/cgroup/memory.max", "134217728\n");
  CHECK(io::memory_limit(tree.path) == mib(128));
}

TEST_CASE("cgroup v1: its memory controller, whose lack of a limit is a large number", "[cgroup]") {
  const test::Folder tree;
  tree.put("/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n");
  tree.put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK_FALSE(io::memory_limit(tree.path));
  tree.put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "67108864\n");
  CHECK(io::memory_limit(tree.path) == mib(64));
}

TEST_CASE("no such files, or nonsense in them, is no limit", "[cgroup]") {
  const test::Folder tree;
  CHECK_FALSE(io::memory_limit(tree.path));
  tree.put("/proc/self/cgroup", "0:\nx\n::\n0::/a/b");
  tree.put("/sys/fs/cgroup/a/b/memory.max", "a lot");
  CHECK_FALSE(io::memory_limit(tree.path));
}
