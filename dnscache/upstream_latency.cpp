#include "dnscache/upstream_latency.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace lastlight::dns {

namespace {

constexpr int kFirstBit = 14;
constexpr std::uint32_t kReadEvery = 16;  // answers between two readings of the quantiles

// The octave, and its quarter by the two bits below the highest.
std::size_t bucket_of(Duration taken, std::size_t buckets) {
  const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(taken.count(), 0));
  const int octave = static_cast<int>(std::bit_width(value)) - 1 - kFirstBit;
  if (octave < 0) return 0;
  const auto quarter = static_cast<std::size_t>(value >> (octave + kFirstBit - 2)) & 3;
  return std::min(static_cast<std::size_t>(octave) * 4 + quarter, buckets - 1);
}

Duration upper_bound(std::size_t bucket) {
  const std::uint64_t quarter = std::uint64_t{1} << (kFirstBit - 2 + static_cast<int>(bucket / 4));
  return Duration(static_cast<std::int64_t>(quarter * (5 + bucket % 4)));
}

}  // namespace

void LearnedLatency::add(Duration taken) {
  if (count_ == kFull) {
    count_ = 0;
    for (std::uint32_t& bucket : buckets_)
      count_ += bucket /= 2;
  }
  ++buckets_[bucket_of(taken, kBuckets)];
  ++count_;
  if (count_ < kEnough || (known() && ++since_read_ < kReadEvery && count_ != kEnough)) return;
  since_read_ = 0;
  median_ = quantile(0.5);
  p99_ = std::max(quantile(0.99), kLeast);
}

Duration LearnedLatency::patience() const {
  return std::clamp(kMedians * median_, kLeast, std::max(p99_, kLeast));
}

Duration LearnedLatency::quantile(double q) const {
  const auto wanted = static_cast<std::uint32_t>(std::ceil(q * count_));
  std::uint32_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= wanted) return upper_bound(i);
  }
  return upper_bound(kBuckets - 1);
}

}  // namespace lastlight::dns
