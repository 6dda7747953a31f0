#include "dnscache/sketch.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "dnscache/hash.h"

namespace lastlight::dns {

void Sketch::note(const IpAddress& client) {
  auto& bucket = buckets_[hash_octets(client.octets(), seed_) % kBuckets];
  ClientCount* least = bucket.data();
  for (ClientCount& place : bucket) {
    if (place.queries > 0 && place.client == client) {
      ++place.queries;
      return;
    }
    if (place.queries < least->queries) least = &place;
  }
  if (least->queries > 0) {
    --least->queries;
    return;
  }
  *least = {client, 1};
}

std::vector<ClientCount> Sketch::top(std::size_t most) const {
  std::vector<ClientCount> out;
  for (const auto& bucket : buckets_) {
    std::ranges::copy_if(bucket, std::back_inserter(out), [](const ClientCount& place) { return place.queries > 0; });
  }
  std::ranges::sort(out, std::greater<>(), &ClientCount::queries);
  out.resize(std::min(most, out.size()));
  return out;
}

}  // namespace lastlight::dns
