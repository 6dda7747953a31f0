// JSON from the network, the one door to nlohmann/json. No exception leaves it: parsing returns an error, the readers
// below return what is absent. A reader never changes its argument, and `Json::operator[]`, `at` and `get` are not for
// foreign documents (they throw or insert). RFC 8259.
//
// Bounds: a text longer than `bytes` or nested deeper than `depth` is refused before anything is built. A document
// takes some 30 times its text in memory at worst (an array of empty objects), so `bytes` bounds that too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lastlight {

using Json = nlohmann::json;

struct JsonLimits {
  std::size_t bytes = 4U << 20;
  std::size_t depth = 64;
};

std::expected<Json, std::string> parse_json(std::string_view text, JsonLimits limits = {});

// A document with a list under a key of its root, as the API server's lists of objects: each item that is an object is
// handed over as it has been read and is not kept. Returned is the rest. After an error what was handed over is void.
std::expected<Json, std::string> parse_json_list(std::string_view text, std::string_view key,
                                                 const std::function<void(const Json&)>& each, JsonLimits limits = {});

// One line; bytes that are not UTF-8 become U+FFFD, so that printing cannot fail.
std::string dump_json(const Json& json);

// The value under these keys, or null: absent, or something on the way is no object.
const Json* find_path(const Json& json, std::span<const std::string_view> keys);

template <class... Keys>
const Json* find(const Json& json, const Keys&... keys) {
  const std::array<std::string_view, sizeof...(Keys)> path{std::string_view(keys)...};
  return find_path(json, path);
}

std::string string_or_empty(const Json* json);
std::optional<std::int64_t> int_or_none(const Json* json);
bool is_true(const Json* json);
const Json::array_t& array_or_empty(const Json* json);
const Json::object_t& object_or_empty(const Json* json);

// string_at(pod, "metadata", "name"): empty if absent or no string.
template <class... Keys>
std::string string_at(const Json& json, const Keys&... keys) {
  return string_or_empty(find(json, keys...));
}

// None if absent, no integer, or outside of int64.
template <class... Keys>
std::optional<std::int64_t> int_at(const Json& json, const Keys&... keys) {
  return int_or_none(find(json, keys...));
}

// True only for a literal true.
template <class... Keys>
bool bool_at(const Json& json, const Keys&... keys) {
  return is_true(find(json, keys...));
}

// Empty if absent or of another type. The references live as long as `json`.
template <class... Keys>
const Json::array_t& array_at(const Json& json, const Keys&... keys) {
  return array_or_empty(find(json, keys...));
}

template <class... Keys>
const Json::object_t& object_at(const Json& json, const Keys&... keys) {
  return object_or_empty(find(json, keys...));
}

}  // namespace lastlight
