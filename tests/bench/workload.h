// What is asked, and in which order. The same questions for every server: the seed is fixed.
//   hot   1,000 names, by Zipf's law
//   wide  100,000 names, each as often as any other; 10k so many
//   k8s   what pods with ndots:5 ask for: each name with the search path in front, A and AAAA; two thirds are NXDOMAIN
//   miss  a name that was never asked for, each time
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"

namespace lastlight::bench {

struct Workload {
  std::vector<ByteBuffer> questions;
  std::vector<std::uint32_t> order;  // indices into it, to be repeated
  bool unique = false;               // the first label of the one question is a number, to be counted up

  static std::optional<Workload> named(std::string_view name);
};

// Writes the number's sixteen digits into the first label of a question of `miss`.
void number(MutableByteView question, std::uint64_t value);

}  // namespace lastlight::bench
