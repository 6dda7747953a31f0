// The answers that one call of the Forwarder makes, in memory that the next one uses again.
//
// Bounds: for kKept deliveries of kKeptOctets room is kept; a crowd's goes when the next are gathered.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "agent/base/bytes.h"
#include "dnscache/forwarder.h"

namespace lastlight::dns {

class Deliveries {
 public:
  void clear() {
    used_ = 0;
    if (each_.size() > kKept) each_.resize(kKept);
    for (Delivery& delivery : each_) {
      if (delivery.message.capacity() > kKeptOctets) delivery.message = {};
    }
  }
  void add(const Client& to, ByteView message) {
    if (used_ == each_.size()) each_.emplace_back();
    Delivery& next = each_[used_++];
    next.to = to;
    next.message.assign(message.begin(), message.end());
  }
  std::span<const Delivery> all() const { return std::span(each_).first(used_); }

 private:
  static constexpr std::size_t kKept = 4;
  static constexpr std::size_t kKeptOctets = 4096;

  std::vector<Delivery> each_;
  std::size_t used_ = 0;
};

}  // namespace lastlight::dns
