#include "dnscache/admission.h"

#include <algorithm>

namespace lastlight::dns {

// A client that is refused has something waiting, or there is no room for anybody.
Admission::Place* Admission::admit(const IpAddress& client, std::size_t most) {
  if (most == 0) return nullptr;
  Place& place = *waiting_.try_emplace(client, 0).first;
  if (place.second >= most) return nullptr;
  ++place.second;
  return &place;
}

Admission::Place* Admission::join(const IpAddress& client) {
  return admit(client, per_client_);
}

Admission::Place* Admission::take(const IpAddress& client, std::size_t taken) {
  const std::size_t free = taken < places_ ? places_ - taken : 0;
  return admit(client, free >= places_ / 4 ? per_client_ : std::min<std::size_t>(per_client_, free));
}

void Admission::leave(Place& place) {
  if (--place.second == 0) waiting_.erase(waiting_.find(place.first));
}

void Admission::set_bounds(std::uint32_t per_client, std::uint32_t places) {
  per_client_ = per_client;
  places_ = places;
}

}  // namespace lastlight::dns
