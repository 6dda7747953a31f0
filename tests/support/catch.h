// The only include of Catch2 in the project: version 2 on Debian 12, version 3 on Debian 13.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;
#else
#include <catch2/catch.hpp>

// Version 3's name for it.
inline auto ContainsSubstring(const std::string& text) {
  return Catch::Contains(text);
}
#endif
