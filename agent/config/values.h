// The texts of the configuration's values: durations (5s, 250ms), sizes (32MiB), numbers, names. Each pair is inverse.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/bytes.h"
#include "agent/base/time.h"

namespace lastlight {

// A whole number and one of ns us ms s m h; printed in the largest unit that is exact.
std::optional<Duration> parse_duration(std::string_view text);
std::string print_duration(Duration duration);

// A whole number and one of B KiB MiB GiB (powers of 1024; 1000s are refused as ambiguous).
std::optional<Bytes> parse_size(std::string_view text);
std::string print_size(Bytes size);

std::optional<std::uint64_t> parse_number(std::string_view text);
std::optional<double> parse_fraction(std::string_view text);
std::string print_fraction(double value);

// A domain name in lower case without the final dot, "." for the root; none if it is no name (RFC 1035 s2.3.4, with the
// underscore of RFC 8552).
std::optional<std::string> normal_domain(std::string_view text);

// A Kubernetes object's name: RFC 1123 labels of lower case, at most 253 characters.
bool is_object_name(std::string_view text);
// A single such label, at most 63: a namespace, a Service.
bool is_label(std::string_view text);

// http://HOST[:PORT] or https://HOST[:PORT], no path.
bool is_origin(std::string_view text);
// The same with any path and query: printable ASCII without spaces.
bool is_url(std::string_view text);

// The candidate that takes the fewest edits, if they are few enough to be a slip of the pen; empty otherwise.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace lastlight
