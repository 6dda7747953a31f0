#include "agent/base/http.h"

#include <algorithm>
#include <cctype>

namespace lastlight {

std::string_view HttpReply::header(std::string_view name) const {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  };
  for (const HttpHeader& h : headers) {
    if (std::ranges::equal(h.name, name, same)) return h.value;
  }
  return {};
}

}  // namespace lastlight
