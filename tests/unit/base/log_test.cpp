#include "agent/base/log.h"

#include <limits>
#include <string>
#include <vector>

#include "agent/base/json.h"

#include "tests/support/catch.h"

using namespace lastlight;

namespace {

struct Captured {
  explicit Captured(LogConfig config) {
    log::configure(config);
    log::redirect([this](std::string_view line) { lines.emplace_back(line); });
  }
  ~Captured() {
    log::redirect({});
    log::configure({});
  }
  std::vector<std::string> lines;
};

}  // namespace

TEST_CASE("text: time, level, event and fields") {
  Captured captured({.level = log::Level::Info, .format = log::Format::Text});
  const std::string name = "node one";
  log::info("drain.started", {{"node", name}, {"pods", 12}, {"left", 1.5}, {"forced", false}, {"zone", "a.b"}});
  log::debug("drain.pod", {{"pod", "x"}});
  log::error("drain.failed");
  log::warn("drain.slow");
  REQUIRE(captured.lines.size() == 3);
  CHECK(captured.lines[2].ends_with("Z warn drain.slow"));
  CHECK(captured.lines[0].substr(24) ==
        R"( info drain.started node="node one" pods=12 left=1.5 forced=false zone=a.b)");
  CHECK(captured.lines[0][10] == 'T');
  CHECK(captured.lines[0][23] == 'Z');
  CHECK(captured.lines[1].ends_with(" error drain.failed"));
}

TEST_CASE("every JSON line is JSON, whatever the fields hold") {
  Captured captured({.level = log::Level::Debug, .format = log::Format::JsonLines});
  const std::string hostile("a\"b\\c\n\0\x7f\xff\xc3\xa4\xed\xa0\x80{}%", 18);
  log::debug("e", {{"hostile", hostile},
                   {"big", std::numeric_limits<std::uint64_t>::max()},
                   {"small", std::numeric_limits<std::int64_t>::min()},
                   {"nan", std::numeric_limits<double>::quiet_NaN()},
                   {"yes", true}});
  REQUIRE(captured.lines.size() == 1);
  CHECK(captured.lines[0].find('\n') == std::string::npos);
  const auto line = parse_json(captured.lines[0]);
  REQUIRE(line);
  CHECK(string_at(*line, "event") == "e");
  CHECK(string_at(*line, "level") == "debug");
  CHECK(string_at(*line, "time").size() == 24);
  CHECK(string_at(*line, "hostile").starts_with(std::string("a\"b\\c\n\0\x7f\xef\xbf\xbd\xc3\xa4", 13)));
  CHECK(int_at(*line, "small") == std::numeric_limits<std::int64_t>::min());
  CHECK(bool_at(*line, "yes"));
}

TEST_CASE("levels") {
  Captured captured({.level = log::Level::Error, .format = log::Format::Text});
  CHECK_FALSE(log::enabled(log::Level::Warn));
  log::warn("w");
  CHECK(captured.lines.empty());
  log::error("{}%v", {});
  REQUIRE(captured.lines.size() == 1);
  CHECK(captured.lines[0].ends_with("{}%v"));
}
