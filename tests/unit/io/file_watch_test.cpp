#include "agent/io/file_watch.h"

#include <filesystem>
#include <fstream>

#include "tests/support/catch.h"
#include "tests/support/folder.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;
using namespace std::chrono_literals;
using test::turn_until;
namespace fs = std::filesystem;

namespace {

void put(const fs::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

struct Fixture {
  test::Folder dir;
  io::Loop loop;
  int calls = 0;

  io::FileWatch watch(const fs::path& path) {
    return io::FileWatch(loop, path.string(), [this] { ++calls; }, 5ms);
  }
  bool called(int times) {
    return turn_until(loop, [&] { return calls >= times; }) && calls == times;
  }
  // Whatever is still coming comes before a later change of the watched file does.
  void quiet_for(Duration d) {
    bool over = false;
    io::Timer timer(loop, [&] { over = true; });
    timer.start_in(d);
    turn_until(loop, [&] { return over; });
  }
};

}  // namespace

TEST_CASE_METHOD(Fixture, "writes in place, renames, and bursts", "[file_watch]") {
  const fs::path file = dir.path / "config.yaml";
  put(file, "one");
  const io::FileWatch watched = watch(file);
  put(file, "two");  // same size
  CHECK(called(1));
  put(dir.path / "new", "three");
  fs::rename(dir.path / "new", file);
  CHECK(called(2));
  for (int i = 0; i < 100; ++i)
    put(file, std::to_string(i));
  CHECK(called(3));
  fs::remove(file);
  CHECK(called(4));
  put(file, "back");
  CHECK(called(5));
}

TEST_CASE_METHOD(Fixture, "neighbours are not reported", "[file_watch]") {
  const fs::path file = dir.path / "config.yaml";
  put(file, "one");
  const io::FileWatch watched = watch(file);
  put(dir.path / "other", "x");
  quiet_for(50ms);
  CHECK(calls == 0);
  put(file, "two");
  CHECK(called(1));
}

TEST_CASE_METHOD(Fixture, "a ConfigMap's swap of ..data is seen, again and again", "[file_watch]") {
  fs::create_directory(dir.path / "..v0");
  put(dir.path / "..v0/config.yaml", "0");
  fs::create_directory_symlink("..v0", dir.path / "..data");
  fs::create_symlink("..data/config.yaml", dir.path / "config.yaml");
  const io::FileWatch watched = watch(dir.path / "config.yaml");
  for (int i = 1; i <= 3; ++i) {
    const std::string version = "..v" + std::to_string(i);
    fs::create_directory(dir.path / version);
    put(dir.path / version / "config.yaml", std::to_string(i));
    fs::create_directory_symlink(version, dir.path / "..data_tmp");
    fs::rename(dir.path / "..data_tmp", dir.path / "..data");
    fs::remove_all(dir.path / ("..v" + std::to_string(i - 1)));
    CHECK(called(i));
  }
}

TEST_CASE_METHOD(Fixture, "the file behind a link is followed", "[file_watch]") {
  const test::Folder run;
  put(run.path / "stub.conf", "one");
  fs::create_symlink(run.path / "stub.conf", dir.path / "resolv.conf");
  const io::FileWatch watched = watch(dir.path / "resolv.conf");
  put(run.path / "stub.conf", "two");
  CHECK(called(1));
  put(run.path / "new", "three");
  fs::rename(run.path / "new", run.path / "stub.conf");
  CHECK(called(2));
}

TEST_CASE_METHOD(Fixture, "a directory that comes later, and goes, is found again", "[file_watch]") {
  const fs::path file = dir.path / "late" / "config.yaml";
  const io::FileWatch watched = watch(file);
  fs::create_directory(dir.path / "late");
  put(file, "one");
  CHECK(called(1));
  fs::remove_all(dir.path / "late");
  CHECK(called(2));
  fs::create_directory(dir.path / "late");
  put(file, "two");
  CHECK(called(3));
}

TEST_CASE_METHOD(Fixture, "every file of a directory is followed", "[file_watch]") {
  put(dir.path / "a.yaml", "one");
  const io::FileWatch watched = watch(dir.path / ".");
  put(dir.path / "a.yaml", "two");
  CHECK(called(1));
  put(dir.path / "b.yaml", "three");
  CHECK(called(2));
  fs::remove(dir.path / "a.yaml");
  CHECK(called(3));
}
