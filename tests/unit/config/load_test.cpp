#include <filesystem>
#include <fstream>

#include "agent/config/file.h"

#include "tests/support/catch.h"
#include "tests/support/folder.h"

using namespace lastlight;
namespace fs = std::filesystem;

namespace {

// A ConfigMap's mount: names are links to links.
struct Mounted : test::Folder {
  Mounted() {
    fs::create_directory(path / "..v1");
    fs::create_directory_symlink("..v1", path / "..data");
  }
  void put(const std::string& name, const std::string& text) const {
    std::ofstream(path / "..v1" / name) << text;
    fs::create_symlink(fs::path("..data") / name, path / name);
  }
  std::string first_error() const {
    const auto loaded = load_config(path);
    REQUIRE_FALSE(loaded);
    return loaded.error().front().to_string();
  }
};

}  // namespace

TEST_CASE("of a directory's files the last one that has a key wins", "[config]") {
  const Mounted map;
  map.put("overlay-takeover.yaml",
          "takeover: {mode: intercept}\ndns: {listen: [service:kube-dns], cache-size: 64MiB}\n");
  map.put("lastlight.yaml",
          "node-name: n1\ndns: {listen: [node:53, 192.0.2.1], max-stale: 1h}\ninterruption: {source: aws}\n");
  map.put("values.yaml", "dns: {cache-size: 16MiB}\n");
  map.put("notes.txt", "not: [yaml");
  map.put(".hidden.yaml", "not: [yaml");
  const auto config = load_config(map.path);
  if (!config) FAIL(config.error().front().to_string());
  CHECK(config->takeover.mode == TakeoverConfig::Mode::Intercept);
  REQUIRE(config->dns.listen.size() == 1);
  CHECK(config->dns.listen.front().to_string() == "service:kube-dns:53");
  CHECK(config->dns.cache_size == mib(16));
  CHECK(config->dns.max_stale == 1h);
  CHECK(config->interruption.source == InterruptionConfig::Source::Aws);
}

TEST_CASE("what is wrong is said of the file and line that set it", "[config]") {
  const Mounted map;
  map.put("a.yaml", "node-name: n1\n");
  map.put("b.yaml", "\ndns:\n  max-stale: soon\n");
  CHECK(map.first_error().starts_with((map.path / "b.yaml").string() + ":3: dns.max-stale: expected"));
  fs::remove(map.path / "b.yaml");
  map.put("c.yaml", "dns: {attempt-timeout: 9s}\n");
  CHECK(map.first_error().starts_with((map.path / "c.yaml").string() + ":1: dns.attempt-timeout"));
}

TEST_CASE("a directory without files, and a file that is not there, are said", "[config]") {
  const Mounted map;
  CHECK(map.first_error() == map.path.string() + ": has no file *.yaml");
  CHECK(load_config((map.path / "none").string()).error().front().message.starts_with("cannot be read: No such"));
}

TEST_CASE("no DNS for others, by an empty list", "[config]") {
  const auto error = [](const std::string& text) {
    const auto parsed = parse_config("node-name: n1\n" + text, "f");
    return parsed ? std::string() : parsed.error().front().to_string();
  };
  CHECK(error("dns: {listen: []}").empty());
  CHECK(error("dns: {listen: []}\ntakeover: {mode: link-local, link-local: [169.254.20.10]}").empty());
  CHECK(error("dns: {listen: []}\ntakeover: {mode: intercept}") ==
        "f:2: dns.listen: is empty: takeover.mode is intercept");
  CHECK(error("dns: {listen: []}\ninterruption: {source: none}").find("there is nothing to do") != std::string::npos);
}
