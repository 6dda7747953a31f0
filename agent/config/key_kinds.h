// The kinds of keys that keys.cpp is written in: each binds one value of the struct, says what texts it takes,
// and reads and prints it. A text that is not as expected leaves the value as it was.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/config/keys.h"
#include "agent/config/values.h"

namespace lastlight::key_kinds {

// What all have; `read` and `print` are still to be set.
Key scalar(std::string name, std::string expected, std::string purpose);
Key duration(std::string name, Duration& value, Duration min, Duration max, std::string purpose);
Key size(std::string name, Bytes& value, Bytes min, Bytes max, std::string purpose);
Key fraction(std::string name, double& value, std::string purpose);
Key flag(std::string name, bool& value, std::string purpose);
Key text(std::string name, std::string& value, std::string expected, bool (*check)(std::string_view),
         std::string purpose);
Key domain(std::string name, std::string& value, std::string purpose);
Key optional_address(std::string name, std::optional<IpAddress>& value, std::string purpose);
Key addresses(std::string name, std::vector<AddressSpec>& value, std::string expected, std::string purpose,
              std::uint16_t default_port = 53);
Key section(std::string name, std::vector<Key> keys, std::string purpose);

template <class Number>
Key number(std::string name, Number& value, Number min, Number max, std::string purpose) {
  Key key = scalar(std::move(name), "a whole number from " + std::to_string(min) + " to " + std::to_string(max),
                   std::move(purpose));
  key.read = [&value, min, max](std::string_view text) {
    const auto parsed = parse_number(text);
    if (!parsed || *parsed < min || *parsed > max) return false;
    value = static_cast<Number>(*parsed);
    return true;
  };
  key.print = [&value] { return std::vector{std::to_string(value)}; };
  return key;
}

template <class Enum>
Key choice(std::string name, Enum& value, std::vector<std::pair<std::string, Enum>> words, std::string purpose) {
  std::string expected;
  for (std::size_t i = 0; i < words.size(); ++i) {
    expected += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i].first;
  }
  Key key = scalar(std::move(name), expected, std::move(purpose));
  key.read = [&value, words](std::string_view text) {
    const auto found = std::find_if(words.begin(), words.end(), [&](const auto& word) { return word.first == text; });
    if (found == words.end()) return false;
    value = found->second;
    return true;
  };
  key.print = [&value, words] {
    const auto found = std::find_if(words.begin(), words.end(), [&](const auto& word) { return word.second == value; });
    return std::vector{found->first};
  };
  return key;
}

}  // namespace lastlight::key_kinds
