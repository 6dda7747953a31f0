// A histogram of durations or sizes in fixed buckets: bucket i counts values of i significant bits, that is below 2^i.
// No allocation, one increment per value; a quantile is right within its bucket, a factor of two at worst.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "agent/base/time.h"

namespace lastlight {

class Histogram {
 public:
  static constexpr std::size_t kBuckets = 65;  // of 0 to 64 significant bits

  void add(std::uint64_t value) {
    ++buckets_[static_cast<std::size_t>(std::bit_width(value))];
    ++count_;
    sum_ += static_cast<double>(value);
  }
  void add(Duration duration) { add(static_cast<std::uint64_t>(duration.count() < 0 ? 0 : duration.count())); }

  std::uint64_t count() const { return count_; }
  double sum() const { return sum_; }
  std::span<const std::uint64_t, kBuckets> buckets() const { return buckets_; }
  // The largest value that bucket holds.
  static constexpr std::uint64_t upper_bound(std::size_t bucket) {
    return bucket >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bucket) - 1;
  }
  // Interpolated within the bucket; 0 when nothing was added. `q` from 0 to 1.
  double quantile(double q) const;

 private:
  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  double sum_ = 0;
};

}  // namespace lastlight
