#include <algorithm>
#include <array>
#include <map>
#include <set>

#include <yaml-cpp/yaml.h>

#include "agent/config/file.h"
#include "agent/config/keys.h"
#include "agent/config/rules.h"
#include "agent/config/values.h"

namespace lastlight {
namespace {

constexpr std::array<OverrideName, 5> kOverrides{{{"node-name", "NODE_NAME", "--node-name"},
                                                  {"node-ip", "NODE_IP", "--node-ip"},
                                                  {"kubernetes.namespace", "POD_NAMESPACE", ""},
                                                  {"log.level", "LASTLIGHT_LOG_LEVEL", "--log-level"},
                                                  {"kubernetes.api-server", "", "--api-server"}}};

std::string joined(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

const Key* by_name(const std::vector<Key>& keys, std::string_view name) {
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const Key& key) { return key.name == name; });
  return found == keys.end() ? nullptr : &*found;
}

const Key* by_path(const std::vector<Key>& keys, std::string_view path) {
  const auto dot = path.find('.');
  const Key* key = by_name(keys, path.substr(0, dot));
  return key && dot != std::string_view::npos ? by_path(key->keys, path.substr(dot + 1)) : key;
}

// Walks documents beside the keys' table. Collects every problem; what could not be read keeps its default.
class Reader {
 public:
  explicit Reader(std::string first_file) : file_(std::move(first_file)) {}

  // What is read next; a key that an earlier file has as well is set anew.
  void begin(const std::string& file) { file_ = file; }

  void read_section(const YAML::Node& node, const std::vector<Key>& keys, const std::string& path) {
    std::set<std::string> seen;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) {
        fail(entry.first, path, "expected a key");
        continue;
      }
      const std::string name = entry.first.Scalar();
      const std::string full = joined(path, name);
      const Key* key = by_name(keys, name);
      if (!key) {
        fail(entry.first, full, unknown(name, keys));
      } else if (!seen.insert(name).second) {
        fail(entry.first, full, "is there already, on line " + std::to_string(places_[full].line));
      } else {
        places_[full] = {file_, line_of(entry.first)};
        read_key(entry.second, *key, full);
      }
    }
    for (const Key& key : keys) {
      if (key.required && !seen.contains(key.name)) fail(node, joined(path, key.name), "is missing: " + key.expected);
    }
  }

  void apply(const ConfigOverride& given, const std::vector<Key>& keys) {
    const Key* key = by_path(keys, given.key);
    if (!key || !key->read || !key->read(given.value)) {
      errors_.push_back({given.source, 0, given.name,
                         "expected " + (key ? key->expected : "a known key") + ", not \"" + given.value + "\""});
    }
  }

  // A problem found after reading. Said only of keys that could be read: the rest were complained of already.
  void problem(const std::string& key, const std::string& message) {
    if (std::any_of(errors_.begin(), errors_.end(), [&](const ConfigError& e) { return e.key == key; })) return;
    Place place{file_, 0};
    for (std::string at = key; place.line == 0 && !at.empty();) {
      if (const auto found = places_.find(at); found != places_.end()) place = found->second;
      const auto cut = at.find_last_of(".[");
      at.resize(cut == std::string::npos ? 0 : cut);
    }
    errors_.push_back({place.file, place.line, key, message});
  }

  void fail(int line, const std::string& key, std::string message) {
    errors_.push_back({file_, line, key, std::move(message)});
  }
  std::vector<ConfigError>& errors() { return errors_; }

 private:
  static int line_of(const YAML::Node& node) { return node.Mark().line + 1; }
  void fail(const YAML::Node& node, const std::string& key, std::string message) {
    fail(line_of(node), key, std::move(message));
  }

  static std::string unknown(const std::string& name, const std::vector<Key>& keys) {
    std::vector<std::string> names;
    std::transform(keys.begin(), keys.end(), std::back_inserter(names), [](const Key& key) { return key.name; });
    if (const std::string meant = nearest(name, names); !meant.empty()) {
      return "unknown key; the nearest known one is " + meant;
    }
    std::string message = "unknown key; known here:";
    for (const std::string& known : names)
      message += " " + known;
    return message;
  }

  static std::string found(const YAML::Node& node) {
    if (node.IsMap()) return "a mapping";
    if (node.IsSequence()) return "a list";
    if (node.IsScalar()) return "\"" + node.Scalar() + "\"";
    return "nothing";
  }

  void mismatch(const YAML::Node& node, const Key& key, const std::string& path) {
    fail(node, path, "expected " + key.expected + ", not " + found(node));
  }

  void read_key(const YAML::Node& node, const Key& key, const std::string& path) {
    switch (key.shape) {
      case Key::Shape::Scalar:
        if (!node.IsScalar() || !key.read(node.Scalar())) mismatch(node, key, path);
        return;
      case Key::Shape::List:
        return read_list(node, key, path);
      case Key::Shape::Section:
        // A mapping whose keys are all commented out is null in YAML: every default then.
        if (node.IsMap()) return read_section(node, key.keys, path);
        if (!node.IsNull()) mismatch(node, key, path);
        return;
      case Key::Shape::Items:
        return read_items(node, key, path);
    }
  }

  void read_list(const YAML::Node& node, const Key& key, const std::string& path) {
    if (!key.word.empty() && node.IsScalar() && node.Scalar() == key.word) return key.set_word(true);
    if (!node.IsSequence()) return mismatch(node, key, path);
    key.set_word(false);
    for (const auto& element : node) {
      if (!element.IsScalar() || !key.read(element.Scalar())) mismatch(element, key, path);
    }
  }

  void read_items(const YAML::Node& node, const Key& key, const std::string& path) {
    if (!node.IsSequence()) return mismatch(node, key, path);
    key.clear();
    std::size_t index = 0;
    for (const auto& element : node) {
      const std::string item = path + "[" + std::to_string(index++) + "]";
      const std::vector<Key> keys = key.append();
      places_[item] = {file_, line_of(element)};
      if (element.IsMap()) {
        read_section(element, keys, item);
      } else {
        mismatch(element, key, item);
      }
    }
  }

  struct Place {
    std::string file;
    int line = 0;
  };
  std::string file_;
  std::vector<ConfigError> errors_;
  std::map<std::string, Place> places_;  // of each key that was set
};

void read_yaml(std::string_view text, Reader& reader, const std::vector<Key>& keys) {
  if (text.size() > kMaxConfigFile) return reader.fail(0, "", "longer than " + print_size(Bytes{kMaxConfigFile}));
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) return reader.fail(documents[1].Mark().line + 1, "", "expected one document");
    if (documents.empty() || documents[0].IsNull()) return;
    if (!documents[0].IsMap()) return reader.fail(documents[0].Mark().line + 1, "", "expected a mapping of keys");
    reader.read_section(documents[0], keys, "");
  } catch (const YAML::Exception& error) {
    reader.fail(error.mark.line + 1, "", "not YAML: " + error.msg);
  }
}

}  // namespace

std::string ConfigError::to_string() const {
  return file + (line > 0 ? ":" + std::to_string(line) : "") + ": " + (key.empty() ? "" : key + ": ") + message;
}

std::span<const OverrideName> override_names() {
  return kOverrides;
}

std::vector<ConfigOverride> environment_overrides(const Environment& environment) {
  std::vector<ConfigOverride> out;
  for (const OverrideName& name : kOverrides) {
    if (name.environment.empty()) continue;
    const std::string variable(name.environment);
    const char* value = environment(variable.c_str());
    if (value && *value) out.push_back({std::string(name.key), "environment", variable, value});
  }
  return out;
}

ConfigResult parse_config(std::span<const ConfigText> texts, std::span<const ConfigOverride> overrides,
                          const ConfigCheck& check) {
  Config config;
  const std::vector<Key> keys = keys_of(config);
  Reader reader(texts.empty() ? "" : texts.front().file);
  for (const ConfigText& each : texts) {
    reader.begin(each.file);
    read_yaml(each.text, reader, keys);
  }
  for (const ConfigOverride& given : overrides)
    reader.apply(given, keys);
  if (config.dns.zones.empty()) config.dns.zones = default_zones(config.dns.cluster_domain);
  const auto problem = [&](const std::string& key, const std::string& message) { reader.problem(key, message); };
  check_rules(config, problem);
  if (check) check(config, problem);
  if (!reader.errors().empty()) return std::unexpected(std::move(reader.errors()));
  return config;
}

ConfigResult parse_config(std::string_view text, const std::string& filename, std::span<const ConfigOverride> overrides,
                          const ConfigCheck& check) {
  const ConfigText only{filename, std::string(text)};
  return parse_config(std::span(&only, 1), overrides, check);
}

}  // namespace lastlight
