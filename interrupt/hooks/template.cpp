#include "interrupt/hooks/template.h"

#include <algorithm>
#include <utility>

namespace lastlight::interrupt {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> keys;
  for (std::size_t from = 0; from <= path.size();) {
    const std::size_t dot = std::min(path.find('.', from), path.size());
    keys.emplace_back(path.substr(from, dot - from));
    from = dot + 1;
  }
  return keys;
}

const Json* field(const Json& event, const std::vector<std::string>& path) {
  const std::vector<std::string_view> keys(path.begin(), path.end());
  return find_path(event, keys);
}

// As people read it, before escaping.
std::string plain(const Json& value) {
  if (value.is_string()) return string_or_empty(&value);
  if (!value.is_array()) return value.is_null() ? "" : dump_json(value);
  std::string out;
  for (const Json& element : array_or_empty(&value))
    out += (out.empty() ? "" : ", ") + plain(element);
  return out;
}

std::string escaped(const std::string& text) {
  const std::string quoted = dump_json(Json(text));
  return quoted.substr(1, quoted.size() - 2);
}

std::string where(std::string_view text, std::size_t at) {
  return "line " + std::to_string(1 + std::ranges::count(text.substr(0, at), '\n'));
}

}  // namespace

std::expected<Template, std::string> Template::parse(std::string_view text, const Json& sample) {
  if (text.size() > kMaxText) return std::unexpected("longer than " + std::to_string(kMaxText) + " bytes");
  Template out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t open = text.find("{{", at);
    if (const auto literal = text.substr(at, std::min(open, text.size()) - at); !literal.empty()) {
      Part part;
      part.text = literal;
      out.parts_.push_back(std::move(part));
    }
    if (open == std::string_view::npos) break;
    const std::size_t close = text.find("}}", open);
    if (close == std::string_view::npos) return std::unexpected(where(text, open) + ": {{ without }}");
    std::string_view inside = trim(text.substr(open + 2, close - open - 2));
    Part part;
    if (inside.starts_with("json") && inside.size() > 4 && kSpace.contains(inside[4])) {
      part.json = true;
      inside = trim(inside.substr(4));
    }
    part.whole = part.json && inside == ".";
    if (!part.whole) part.path = split(inside);
    if (!part.whole && field(sample, part.path) == nullptr) {
      std::string known;
      for (const auto& [name, value] : object_or_empty(&sample))
        known += " " + name;
      return std::unexpected(where(text, open) + ": there is no field \"" + std::string(inside) +
                             "\"; there are:" + known);
    }
    out.parts_.push_back(std::move(part));
    at = close + 2;
  }
  return out;
}

std::string Template::render(const Json& event) const {
  static const Json kNull;
  std::string out;
  for (const Part& part : parts_) {
    if (part.path.empty() && !part.whole) {
      out += part.text;
      continue;
    }
    const Json* value = part.whole ? &event : field(event, part.path);
    if (value == nullptr) value = &kNull;
    out += part.json ? dump_json(*value) : escaped(plain(*value));
  }
  return out;
}

}  // namespace lastlight::interrupt
