#include "dnscache/admission.h"

namespace lastlight::dns {

bool Admission::may_take(const IpAddress& client, std::size_t taken) const {
  const std::size_t free = taken < places_ ? places_ - taken : 0;
  return may_join(client) && (free >= places_ / 4 || held(client) < free);
}

std::uint32_t Admission::held(const IpAddress& client) const {
  const auto found = waiting_.find(client);
  return found == waiting_.end() ? 0 : found->second;
}

void Admission::leaves(const IpAddress& client) {
  const auto found = waiting_.find(client);
  if (found != waiting_.end() && --found->second == 0) waiting_.erase(found);
}

void Admission::set_bounds(std::uint32_t per_client, std::uint32_t places) {
  per_client_ = per_client;
  places_ = places;
}

}  // namespace lastlight::dns
