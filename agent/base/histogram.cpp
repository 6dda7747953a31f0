#include "agent/base/histogram.h"

#include <algorithm>

namespace lastlight {

double Histogram::quantile(double q) const {
  if (count_ == 0) return 0;
  const double rank = std::clamp(q, 0.0, 1.0) * static_cast<double>(count_);
  double before = 0;
  double highest = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (buckets_[i] == 0) continue;
    const auto here = static_cast<double>(buckets_[i]);
    const double low = i == 0 ? 0 : static_cast<double>(upper_bound(i - 1)) + 1;
    highest = static_cast<double>(upper_bound(i));
    if (before + here >= rank) return low + (highest - low) * std::max(0.0, rank - before) / here;
    before += here;
  }
  return highest;
}

}  // namespace lastlight
