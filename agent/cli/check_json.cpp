#include "agent/cli/check_json.h"

#include "agent/base/json.h"
#include "agent/config_keys.h"

namespace lastlight::cli {
namespace {

Json object_of(const std::vector<Key>& keys);

// Numbers and flags as such; durations, sizes and the rest in the words of the file.
Json scalar_of(const Key& key) {
  std::string text = key.print().front();
  if (key.expected == "true or false") return text == "true";
  if (key.expected.starts_with("a whole number")) {
    auto number = parse_json(text);
    if (number) return std::move(*number);
  }
  return text;
}

Json value_of(const Key& key) {
  switch (key.shape) {
    case Key::Shape::Scalar:
      return scalar_of(key);
    case Key::Shape::List:
      return key.has_word() ? Json(key.word) : Json(key.print());
    case Key::Shape::Section:
      return object_of(key.keys);
    case Key::Shape::Items:
      break;
  }
  Json out = Json::array();
  for (const std::vector<Key>& item : key.items())
    out.push_back(object_of(item));
  return out;
}

Json object_of(const std::vector<Key>& keys) {
  Json out = Json::object();
  for (const Key& key : keys)
    out.emplace(key.name, value_of(key));
  return out;
}

Json meaning_of(const Use& use) {
  Json endpoints = Json::array();
  for (const Endpoint& endpoint : use.meaning.endpoints)
    endpoints.push_back(endpoint.to_string());
  return Json{{"key", use.key},
              {"written", use.spec->to_string()},
              {"endpoints", std::move(endpoints)},
              {"remark", use.meaning.remark}};
}

}  // namespace

std::string problems_json(std::span<const ConfigError> errors) {
  Json problems = Json::array();
  for (const ConfigError& error : errors)
    problems.push_back({{"file", error.file}, {"line", error.line}, {"key", error.key}, {"message", error.message}});
  return dump_json({{"valid", false}, {"problems", std::move(problems)}});
}

std::string checked_json(const Config& config, std::span<const Use> uses, std::span<const std::string> memory,
                         std::span<const std::string> problems) {
  Config copy = config;  // the table binds to what it may also write
  Json wrong = Json::array();
  for (const std::string& problem : problems)
    wrong.push_back({{"message", problem}});
  Json addresses = Json::array();
  for (const Use& use : uses)
    addresses.push_back(meaning_of(use));
  return dump_json({{"valid", problems.empty()},
                    {"problems", std::move(wrong)},
                    {"config", object_of(keys_of(copy))},
                    {"memory", std::vector<std::string>(memory.begin(), memory.end())},
                    {"addresses", std::move(addresses)}});
}

}  // namespace lastlight::cli
