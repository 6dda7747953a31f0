// The one place that knows Prometheus: counters kept beside the logic are set here when a scrape asks, into a registry
// of prometheus-cpp that lives as long as the scrape, and printed in the text format (exposition format 0.0.4) by its
// serializer. Holds nothing between scrapes and starts no thread (the library's own server would).
//   Families families;
//   families.counter("dns_queries", "Queries received.", stats.queries, {{"protocol", "udp"}});
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/base/histogram.h"

namespace prometheus {
class Registry;
}

namespace lastlight::metrics {

inline constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

using Labels = std::vector<std::pair<std::string, std::string>>;

class Families {
 public:
  Families();
  ~Families();

  // Names are PART_WHAT_UNIT: `lastlight_` is put before, and `_total` behind a counter's. The same name again adds a
  // series to its family; the first help stays. A name or label that Prometheus would not take is a mistake of ours:
  // std::invalid_argument.
  void counter(std::string_view name, std::string_view help, double value, const Labels& labels = {});
  void gauge(std::string_view name, std::string_view help, double value, const Labels& labels = {});
  // A histogram of nanoseconds, published in seconds (`_seconds` is put behind): bounds by factors of four from 1 us to
  // 17 s.
  void histogram(std::string_view name, std::string_view help, const Histogram& nanoseconds, const Labels& labels = {});
  void build_info(std::string_view version);

  std::string render() const;

 private:
  std::unique_ptr<prometheus::Registry> registry_;
};

}  // namespace lastlight::metrics
