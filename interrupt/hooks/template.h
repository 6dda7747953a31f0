// The body of a webhook: text with places that an event's JSON fills.
//   {{ text }}, {{ pods.told }}   the field's text, escaped for the inside of a JSON string; an array as "a, b"
//   {{ json refused }}            the field as JSON, quotes and brackets included; {{ json . }} is the whole event
// Nothing else: no conditions, no loops. A place that no event has a field for is an error when the template is read.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/json.h"

namespace lastlight::interrupt {

class Template {
 public:
  static constexpr std::size_t kMaxText = 16U << 10;

  // `sample` has every field there is. The error says what is wrong and where.
  static std::expected<Template, std::string> parse(std::string_view text, const Json& sample);

  std::string render(const Json& event) const;

 private:
  struct Part {
    std::string text;               // literal, where `path` is empty and `whole` is false
    std::vector<std::string> path;  // keys from the event's root
    bool whole = false;             // the event itself
    bool json = false;
  };
  std::vector<Part> parts_;
};

}  // namespace lastlight::interrupt
