#include "agent/cli/config_json.h"

#include "agent/config/keys.h"

namespace lastlight::cli {
namespace {

// With `defaults`, the same table bound to another object (whose lists may grow by this), only what differs from it.
Json object_of(const std::vector<Key>& keys, const std::vector<Key>* defaults);

Json scalar_of(const Key& key) {
  std::string text = key.print().front();
  if (key.expected == "true or false") return text == "true";
  if (key.expected.starts_with("a whole number")) {
    auto number = parse_json(text);
    if (number) return std::move(*number);
  }
  return text;
}

Json value_of(const Key& key, const Key* usual) {
  switch (key.shape) {
    case Key::Shape::Scalar:
      return scalar_of(key);
    case Key::Shape::List:
      return key.has_word() ? Json(key.word) : Json(key.print());
    case Key::Shape::Section:
      return object_of(key.keys, usual ? &usual->keys : nullptr);
    case Key::Shape::Items:
      break;
  }
  Json out = Json::array();
  for (const std::vector<Key>& item : key.items()) {
    const std::vector<Key> fresh = usual ? usual->append() : std::vector<Key>();
    out.push_back(object_of(item, usual ? &fresh : nullptr));
  }
  return out;
}

Json object_of(const std::vector<Key>& keys, const std::vector<Key>* defaults) {
  Json out = Json::object();
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const Key* usual = defaults ? &(*defaults)[i] : nullptr;
    if (usual && !keys[i].required && value_of(keys[i], nullptr) == value_of(*usual, nullptr)) continue;
    out.emplace(keys[i].name, value_of(keys[i], usual));
  }
  return out;
}

}  // namespace

Json config_json(const Config& config) {
  Config copy = config;  // the table binds to what it may also write
  return object_of(keys_of(copy), nullptr);
}

Json changed_json(const Config& config) {
  Config copy = config;
  Config usual;
  usual.dns.zones = default_zones(copy.dns.cluster_domain);
  const std::vector<Key> defaults = keys_of(usual);
  return object_of(keys_of(copy), &defaults);
}

}  // namespace lastlight::cli
