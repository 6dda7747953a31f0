#include "dnscache/sketch.h"

#include <algorithm>
#include <functional>

namespace lastlight::dns {

Sketch::Sketch(std::size_t longest)
    : longest_(longest),
      buckets_(kBuckets),
      sizes_(kBuckets * kPlaces),
      octets_(std::make_unique_for_overwrite<std::uint8_t[]>(kBuckets * kPlaces * longest)) {}

void Sketch::note(ByteView what, std::uint64_t hash, std::uint64_t times) {
  Bucket& bucket = buckets_[hash % kBuckets];
  std::size_t found = kPlaces;  // looked for without a branch for each: which it is nobody can foretell
  for (std::size_t i = 0; i < kPlaces; ++i)
    found = bucket[i].hash == hash && bucket[i].count > 0 ? i : found;
  if (found < kPlaces) {
    bucket[found].count += times;
    return;
  }
  Place* least = bucket.data();
  for (Place& place : bucket)
    least = place.count < least->count ? &place : least;
  if (least->count >= times) {
    least->count -= times;
    return;
  }
  *least = {hash, times - least->count};
  const std::size_t index = hash % kBuckets * kPlaces + static_cast<std::size_t>(least - bucket.data());
  sizes_[index] = static_cast<std::uint16_t>(std::min(what.size(), longest_));
  std::copy_n(what.begin(), sizes_[index], octets_.get() + index * longest_);
}

std::vector<Sketch::Counted> Sketch::top(std::size_t most) const {
  std::vector<Counted> out;
  for (std::size_t i = 0; i < kBuckets * kPlaces; ++i) {
    const std::uint64_t count = buckets_[i / kPlaces][i % kPlaces].count;
    if (count > 0) out.push_back({{octets_.get() + i * longest_, sizes_[i]}, count});
  }
  std::ranges::sort(out, std::greater<>(), &Counted::count);
  out.resize(std::min(most, out.size()));
  return out;
}

}  // namespace lastlight::dns
