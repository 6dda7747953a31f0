#include "agent/supervisor/handover.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/catch.h"
#include "tests/support/folder.h"

using namespace lastlight;

namespace {

constexpr uid_t kStranger = 65534;

void pod(const char* uid) {
  uid == nullptr ? ::unsetenv("POD_UID") : ::setenv("POD_UID", uid, 1);
}

// Connects to `directory` as `uid` and stays until it is closed or answered. Whether `listener` took it.
bool is_heard(const std::string& directory, int listener, uid_t uid) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(uid, uid, uid) != 0) ::_exit(2);
    const io::FileDescriptor socket = handover::connect(directory);
    pollfd waiting{socket.get(), POLLIN, 0};
    if (!socket) ::_exit(3);
    ::poll(&waiting, 1, 20000);
    ::_exit(0);
  }
  pollfd waiting{listener, POLLIN, 0};
  REQUIRE(::poll(&waiting, 1, 20000) == 1);
  const bool heard = static_cast<bool>(handover::accept(listener));
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
  return heard;
}

}  // namespace

TEST_CASE("a pod keeps its number over restarts, and who comes later has a higher one", "[handover]") {
  const test::Folder folder;
  const std::string directory = folder.path.string();
  pod("aaaa-1");
  const auto first = handover::generation(directory);
  pod("bbbb-2");
  const auto second = handover::generation(directory);
  CHECK(first > 0);
  CHECK(second > first);
  pod("aaaa-1");
  CHECK(handover::generation(directory) == first);
  pod(nullptr);  // nobody knows whether it is the same one
  const auto third = handover::generation(directory);
  CHECK(third > second);
  CHECK(handover::generation(directory) > third);
  pod("../escape");
  CHECK(handover::generation(directory) > third);
  CHECK_FALSE(std::filesystem::exists(folder.path.parent_path() / "escape"));
  pod(nullptr);
}

TEST_CASE("a file that says nonsense is no number to keep", "[handover]") {
  const test::Folder folder;
  std::ofstream(folder.path / "generation-cccc") << "nonsense";
  std::ofstream(folder.path / "generation-dddd") << "41";
  pod("cccc");
  CHECK(handover::generation(folder.path.string()) == 42);
  pod(nullptr);
}

TEST_CASE("the directory is ours and private, or there is no handover", "[handover]") {
  const test::Folder folder;
  ::setenv("LASTLIGHT_RUN_DIR", folder.path.c_str(), 1);
  ::chmod(folder.path.c_str(), 0755);
  CHECK(handover::directory() == folder.path.string());
  struct stat about{};
  REQUIRE(::stat(folder.path.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0700);
  if (::geteuid() == 0 && ::chown(folder.path.c_str(), kStranger, kStranger) == 0) CHECK(handover::directory().empty());
  ::setenv("LASTLIGHT_RUN_DIR", (folder.path / "absent").c_str(), 1);
  CHECK(handover::directory().empty());
  ::unsetenv("LASTLIGHT_RUN_DIR");
}

TEST_CASE("only a peer of our own user or root is heard", "[handover]") {
  const test::Folder folder;
  const std::string directory = folder.path.string();
  const io::FileDescriptor listener = handover::listen(directory);
  REQUIRE(listener);
  CHECK(is_heard(directory, listener.get(), ::geteuid()));
  if (::geteuid() != 0) {
    WARN("only root can play a stranger");
    return;
  }
  // Were the directory open to all, by somebody's mistake.
  for (const auto& each : std::filesystem::directory_iterator(folder.path))
    std::filesystem::permissions(each, std::filesystem::perms::all);
  std::filesystem::permissions(folder.path, std::filesystem::perms::all);
  CHECK_FALSE(is_heard(directory, listener.get(), kStranger));
}
