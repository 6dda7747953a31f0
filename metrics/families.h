// The one place that knows Prometheus: counters kept beside the logic are set here when a scrape asks, and printed in
// the text format (exposition format 0.0.4) by prometheus-cpp. Holds nothing between scrapes, has no lock and no
// thread.
//   Families families;
//   families.counter("dns_queries", "Queries received.", stats.queries, {{"protocol", "udp"}});
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/base/histogram.h"

namespace lastlight::metrics {

inline constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

using Labels = std::vector<std::pair<std::string, std::string>>;

class Families {
 public:
  // Names are PART_WHAT_UNIT: `lastlight_` is put before, and `_total` behind a counter's. The same name again adds a
  // series to its family; the first help stays.
  void counter(std::string_view name, std::string_view help, double value, Labels labels = {});
  void gauge(std::string_view name, std::string_view help, double value, Labels labels = {});
  // A histogram of nanoseconds, published in seconds (`_seconds` is put behind): bounds by factors of four from 1 us to
  // 17 s.
  void histogram(std::string_view name, std::string_view help, const Histogram& nanoseconds, Labels labels = {});
  void build_info(std::string_view version);

  std::string render() const;

 private:
  enum class Type { Counter, Gauge, Histogram };
  struct Series {
    Labels labels;
    double value = 0;
    Histogram histogram;
  };
  struct Family {
    std::string name;
    std::string help;
    Type type;
    std::vector<Series> series;
  };
  void add(std::string name, std::string_view help, Type type, Series series);

  std::vector<Family> families_;
};

}  // namespace lastlight::metrics
