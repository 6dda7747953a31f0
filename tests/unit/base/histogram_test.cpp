#include "agent/base/histogram.h"

#include <algorithm>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/random.h"

using namespace lastlight;

TEST_CASE("each value falls below its bucket's bound") {
  Histogram histogram;
  CHECK(histogram.quantile(0.5) == 0);
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}, ~std::uint64_t{0}}) {
    histogram.add(value);
  }
  CHECK(histogram.buckets()[0] == 1);
  CHECK(histogram.buckets()[1] == 1);
  CHECK(histogram.buckets()[2] == 2);
  CHECK(histogram.buckets()[64] == 1);
  CHECK(histogram.count() == 5);
  CHECK(Histogram::upper_bound(2) == 3);
  CHECK(Histogram::upper_bound(64) == ~std::uint64_t{0});
  histogram.add(Duration(-5));
  CHECK(histogram.buckets()[0] == 2);
}

TEST_CASE("a quantile is within a factor of two of the true one") {
  auto random = test::seeded_random("histogram");
  Histogram histogram;
  std::vector<std::uint64_t> values(5000);
  for (auto& value : values) {
    value = random() >> (random() % 50 + 5);
    histogram.add(value);
  }
  std::sort(values.begin(), values.end());
  for (const double q : {0.01, 0.5, 0.9, 0.99, 1.0}) {
    const auto rank = static_cast<std::size_t>(q * 5000) - 1;
    const auto exact = static_cast<double>(values[rank]);
    INFO(q << " " << exact << " " << histogram.quantile(q));
    CHECK(histogram.quantile(q) <= 2 * exact + 1);
    CHECK(histogram.quantile(q) >= exact / 2 - 1);
  }
}
