#include "metrics/families.h"

#include <algorithm>
#include <limits>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

namespace lastlight::metrics {
namespace {

constexpr std::size_t kFirstBit = 10;  // 2^10 ns, about a microsecond
constexpr std::size_t kLastBit = 34;   // 2^34 ns, about 17 s
constexpr std::size_t kStep = 2;

std::string prefixed(std::string_view name, std::string_view suffix) {
  return "lastlight_" + std::string(name) + std::string(suffix);
}

prometheus::ClientMetric::Histogram published(const Histogram& from) {
  prometheus::ClientMetric::Histogram out;
  out.sample_count = from.count();
  out.sample_sum = from.sum() / 1e9;
  std::uint64_t cumulative = 0;
  std::size_t next = 0;
  for (std::size_t bit = kFirstBit; bit <= kLastBit; bit += kStep) {
    while (next <= bit)
      cumulative += from.buckets()[next++];
    out.bucket.push_back({cumulative, static_cast<double>(std::uint64_t{1} << bit) / 1e9});
  }
  out.bucket.push_back({from.count(), std::numeric_limits<double>::infinity()});
  return out;
}

}  // namespace

void Families::counter(std::string_view name, std::string_view help, double value, Labels labels) {
  add(prefixed(name, "_total"), help, Type::Counter, {std::move(labels), value, {}});
}

void Families::gauge(std::string_view name, std::string_view help, double value, Labels labels) {
  add(prefixed(name, ""), help, Type::Gauge, {std::move(labels), value, {}});
}

void Families::histogram(std::string_view name, std::string_view help, const Histogram& nanoseconds, Labels labels) {
  add(prefixed(name, "_seconds"), help, Type::Histogram, {std::move(labels), 0, nanoseconds});
}

void Families::build_info(std::string_view version) {
  gauge("build_info", "Always 1; what is running.", 1, {{"version", std::string(version)}});
}

void Families::add(std::string name, std::string_view help, Type type, Series series) {
  auto family = std::find_if(families_.begin(), families_.end(), [&](const Family& f) { return f.name == name; });
  if (family == families_.end()) {
    family = families_.insert(family, {std::move(name), std::string(help), type, {}});
  }
  family->series.push_back(std::move(series));
}

std::string Families::render() const {
  std::vector<prometheus::MetricFamily> out;
  for (const Family& family : families_) {
    prometheus::MetricFamily& to = out.emplace_back();
    to.name = family.name;
    to.help = family.help;
    to.type = family.type == Type::Counter ? prometheus::MetricType::Counter
              : family.type == Type::Gauge ? prometheus::MetricType::Gauge
                                           : prometheus::MetricType::Histogram;
    for (const Series& series : family.series) {
      prometheus::ClientMetric& metric = to.metric.emplace_back();
      for (const auto& [name, value] : series.labels)
        metric.label.push_back({name, value});
      metric.counter.value = series.value;
      metric.gauge.value = series.value;
      if (family.type == Type::Histogram) metric.histogram = published(series.histogram);
    }
  }
  return prometheus::TextSerializer().Serialize(out);
}

}  // namespace lastlight::metrics
