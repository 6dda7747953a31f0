#include "agent/base/json.h"

#include <limits>

namespace lastlight {
namespace {

// The deepest nesting of brackets outside of strings. A look ahead, because the library checks no depth and prints
// recursively. Text that is not JSON gets some number here and its error from the parser.
std::size_t nesting(std::string_view text) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

// Says why a text is no JSON. The parser without exceptions only says that it is not, so the rare bad text is read
// twice.
struct FirstError : nlohmann::json_sax<Json> {
  std::string message;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return true; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    // Not the library's own text: it quotes the document, which may hold a secret.
    message = "not JSON at byte " + std::to_string(position);
    return false;
  }
};

std::expected<Json, std::string> parse_within(std::string_view text, JsonLimits limits,
                                              const Json::parser_callback_t& keeps) {
  if (text.size() > limits.bytes) return std::unexpected("longer than " + std::to_string(limits.bytes) + " bytes");
  if (nesting(text) > limits.depth) {
    return std::unexpected("nested deeper than " + std::to_string(limits.depth) + " levels");
  }
  Json json = Json::parse(text.begin(), text.end(), keeps, false);
  if (!json.is_discarded()) return json;
  FirstError error;
  Json::sax_parse(text.begin(), text.end(), &error);
  return std::unexpected(error.message);
}

}  // namespace

std::expected<Json, std::string> parse_json(std::string_view text, JsonLimits limits) {
  return parse_within(text, limits, nullptr);
}

std::expected<Json, std::string> parse_json_list(std::string_view text, std::string_view key,
                                                 const std::function<void(const Json&)>& each, JsonLimits limits) {
  constexpr int kOfRoot = 1, kOfItem = 2;
  bool in_list = false;
  return parse_within(text, limits, [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::key && depth == kOfRoot) in_list = string_or_empty(&parsed) == key;
    if (event != Json::parse_event_t::object_end || depth != kOfItem || !in_list) return true;
    each(parsed);
    return false;
  });
}

std::string dump_json(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

const Json* find_path(const Json& json, std::span<const std::string_view> keys) {
  const Json* at = &json;
  for (const std::string_view key : keys) {
    const auto* object = at->get_ptr<const Json::object_t*>();
    if (!object) return nullptr;
    const auto found = object->find(key);
    if (found == object->end()) return nullptr;
    at = &found->second;
  }
  return at;
}

std::string string_or_empty(const Json* json) {
  const auto* text = json ? json->get_ptr<const Json::string_t*>() : nullptr;
  return text ? *text : std::string();
}

std::optional<std::int64_t> int_or_none(const Json* json) {
  if (!json || !json->is_number_integer()) return std::nullopt;
  if (const auto* number = json->get_ptr<const Json::number_unsigned_t*>()) {
    if (*number > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) return std::nullopt;
    return static_cast<std::int64_t>(*number);
  }
  return *json->get_ptr<const Json::number_integer_t*>();
}

bool is_true(const Json* json) {
  const auto* flag = json ? json->get_ptr<const Json::boolean_t*>() : nullptr;
  return flag && *flag;
}

const Json::array_t& array_or_empty(const Json* json) {
  static const Json::array_t kEmpty;
  const auto* array = json ? json->get_ptr<const Json::array_t*>() : nullptr;
  return array ? *array : kEmpty;
}

const Json::object_t& object_or_empty(const Json* json) {
  static const Json::object_t kEmpty;
  const auto* object = json ? json->get_ptr<const Json::object_t*>() : nullptr;
  return object ? *object : kEmpty;
}

}  // namespace lastlight
