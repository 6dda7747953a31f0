#include "metrics/families.h"

#include <map>
#include <regex>
#include <sstream>

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::metrics;

namespace {

// Reads the text format line by line: series -> value. Every line must be a comment of a known kind or a sample of a
// family that was announced.
std::map<std::string, double> parse(const std::string& text) {
  static const std::regex comment(R"(# (HELP|TYPE) (lastlight_[a-z0-9_]+) (.+))");
  static const std::regex sample(
      R"rx((lastlight_[a-z0-9_]+)(\{[a-z_]+="(?:[^"\\]|\\.)*"(?:,[a-z_]+="(?:[^"\\]|\\.)*")*\})? (\S+))rx");
  std::map<std::string, double> out;
  std::map<std::string, std::string> types;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    INFO(line);
    std::smatch match;
    if (std::regex_match(line, match, comment)) {
      if (match[1] == "TYPE") CHECK(types.emplace(match[2], match[3]).second);
      continue;
    }
    REQUIRE(std::regex_match(line, match, sample));
    const std::string name = std::regex_replace(match[1].str(), std::regex("_(bucket|sum|count)$"), "");
    CHECK((types.contains(name) || types.contains(match[1])));
    CHECK(out.emplace(match[1].str() + match[2].str(), std::stod(match[3])).second);
  }
  return out;
}

}  // namespace

TEST_CASE("every line parses and carries its value") {
  Families families;
  families.build_info("0.1.0");
  families.counter("dns_queries", "Queries received.", 12345678901.0, {{"protocol", "udp"}});
  families.gauge("dns_cache_bytes", "Memory of the cache.", 0.5);
  families.counter("dns_queries", "Ignored.", 7, {{"protocol", "tcp"}});
  families.gauge("dns_upstream_up", "Quoted.", 1, {{"zone", "a\"b\\c\nd"}, {"upstream", "1.1.1.1:53"}});
  const std::string text = families.render();
  const auto series = parse(text);
  CHECK(series.size() == 5);
  CHECK(series.at("lastlight_build_info{version=\"0.1.0\"}") == 1);
  CHECK(series.at("lastlight_dns_queries_total{protocol=\"udp\"}") == 12345678901.0);
  CHECK(series.at("lastlight_dns_queries_total{protocol=\"tcp\"}") == 7);
  CHECK(series.at("lastlight_dns_cache_bytes") == 0.5);
  CHECK(text.find("# TYPE lastlight_dns_queries_total counter\n") != std::string::npos);
  CHECK(text.find("Ignored") == std::string::npos);
  CHECK(text.ends_with('\n'));
}

TEST_CASE("a histogram is cumulative, in seconds, and counts every value") {
  Histogram lag;
  for (const Duration value : {Duration(1), Duration(5'000), Duration(3'000'000), Duration(60'000'000'000)})
    lag.add(value);
  Families families;
  families.histogram("loop_lag", "How late the loop was.", lag);
  const auto series = parse(families.render());
  CHECK(series.at("lastlight_loop_lag_seconds_count") == 4);
  CHECK(series.at("lastlight_loop_lag_seconds_sum") == Approx(60.003005));
  CHECK(series.at("lastlight_loop_lag_seconds_bucket{le=\"+Inf\"}") == 4);
  CHECK(series.at("lastlight_loop_lag_seconds_bucket{le=\"1.024e-06\"}") == 1);
  std::size_t buckets = 0;
  for (const auto& [name, value] : series) {
    static const std::regex bucket(R"rx(.*_bucket\{le="([0-9.e+-]+)"\})rx");
    std::smatch match;
    if (!std::regex_match(name, match, bucket)) continue;
    ++buckets;
    const double bound = std::stod(match[1]);
    CHECK(value == (bound > 5e-6 ? 1 : 0) + (bound > 3e-3 ? 1 : 0) + 1);
  }
  CHECK(buckets == 13);
}

TEST_CASE("no families, no text") {
  CHECK(Families().render().empty());
}

TEST_CASE("a name or a label that Prometheus would refuse is refused here") {
  Families families;
  CHECK_THROWS_AS(families.gauge("no-dash", "x", 1), std::invalid_argument);
  CHECK_THROWS_AS(families.gauge("label", "x", 1, {{"le-vel", "1"}}), std::invalid_argument);
  families.counter("kind", "x", 1);
  CHECK_THROWS_AS(families.gauge("kind_total", "x", 1), std::invalid_argument);  // it is a counter already
}
