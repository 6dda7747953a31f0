#include "metrics/families.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace lastlight::metrics {
namespace {

constexpr std::size_t kFirstBit = 10;  // 2^10 ns, about a microsecond
constexpr std::size_t kLastBit = 34;   // 2^34 ns, about 17 s
constexpr std::size_t kStep = 2;

std::string prefixed(std::string_view name, std::string_view suffix) {
  return "lastlight_" + std::string(name) + std::string(suffix);
}

prometheus::Labels named(const Labels& labels) {
  return {labels.begin(), labels.end()};
}

// The series of that name and these labels, its family made by the first call.
template <class Builder, class... Arguments>
auto& series(prometheus::Registry& registry, Builder builder, const std::string& name, std::string_view help,
             const Labels& labels, const Arguments&... arguments) {
  return builder.Name(name).Help(std::string(help)).Register(registry).Add(named(labels), arguments...);
}

}  // namespace

Families::Families() : registry_(std::make_unique<prometheus::Registry>()) {}
Families::~Families() = default;

void Families::counter(std::string_view name, std::string_view help, double value, const Labels& labels) {
  series(*registry_, prometheus::BuildCounter(), prefixed(name, "_total"), help, labels).Increment(value);
}

void Families::gauge(std::string_view name, std::string_view help, double value, const Labels& labels) {
  series(*registry_, prometheus::BuildGauge(), prefixed(name, ""), help, labels).Set(value);
}

void Families::histogram(std::string_view name, std::string_view help, const Histogram& nanoseconds,
                         const Labels& labels) {
  prometheus::Histogram::BucketBoundaries bounds;
  std::vector<double> counts;
  std::size_t next = 0;
  const auto take = [&](std::size_t end) {
    double count = 0;
    while (next < end)
      count += static_cast<double>(nanoseconds.buckets()[next++]);
    counts.push_back(count);
  };
  for (std::size_t bit = kFirstBit; bit <= kLastBit; bit += kStep) {
    bounds.push_back(static_cast<double>(std::uint64_t{1} << bit) / 1e9);
    take(bit + 1);
  }
  take(Histogram::kBuckets);  // +Inf
  series(*registry_, prometheus::BuildHistogram(), prefixed(name, "_seconds"), help, labels, bounds)
      .ObserveMultiple(counts, nanoseconds.sum() / 1e9);
}

void Families::build_info(std::string_view version) {
  gauge("build_info", "Always 1; what is running.", 1, {{"version", std::string(version)}});
}

std::string Families::render() const {
  return prometheus::TextSerializer().Serialize(registry_->Collect());
}

}  // namespace lastlight::metrics
