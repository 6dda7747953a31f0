// The configuration's files, the environment and the flags become one Config, or a list of everything that is wrong
// with them: nothing starts on half a configuration. Precedence: flag, environment, file, default. Never throws, never
// looks a name up.
#pragma once

#include <cstddef>
#include <expected>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config.h"

namespace lastlight {

struct ConfigError {
  std::string file;  // or "environment", "command line"
  int line = 0;      // from 1; 0 where no line is to blame
  std::string key;   // dotted: dns.zones[1].upstreams
  std::string message;

  // FILE:LINE: KEY: MESSAGE
  std::string to_string() const;
  bool operator==(const ConfigError&) const = default;
};

using ConfigResult = std::expected<Config, std::vector<ConfigError>>;

// What may be set per node. One table: the flags of the command line, the names of the environment and the keys they
// set.
struct OverrideName {
  std::string_view key;
  std::string_view environment;  // empty: none
  std::string_view flag;         // empty: none
};
std::span<const OverrideName> override_names();

struct ConfigOverride {
  std::string key;     // a dotted key of override_names()
  std::string source;  // "environment" or "command line"
  std::string name;    // NODE_IP, --node-ip
  std::string value;
};

// Null where the variable is not set.
using Environment = std::function<const char*(const char*)>;

// An empty variable counts as not set: that is what a downward API field without a value gives.
std::vector<ConfigOverride> environment_overrides(const Environment& environment);

// What only a module can tell of its own part, such as a template's fields: calls `problem(dotted key, message)`.
using ConfigProblem = std::function<void(const std::string& key, const std::string& message)>;
using ConfigCheck = std::function<void(const Config&, const ConfigProblem&)>;

struct ConfigText {
  std::string file;
  std::string text;
};
inline constexpr std::size_t kMaxConfigFile = 1U << 20;  // bytes; a ConfigMap holds no more
// Of one file, and at most one byte more than that, so that a longer one is noticed; or why it cannot be read.
std::expected<std::string, std::string> read_config_text(const std::string& path);

// A key's last text wins; lists are replaced, not joined. Later overrides win.
ConfigResult parse_config(std::span<const ConfigText> texts, std::span<const ConfigOverride> overrides = {},
                          const ConfigCheck& check = {});
ConfigResult parse_config(std::string_view text, const std::string& filename,
                          std::span<const ConfigOverride> overrides = {}, const ConfigCheck& check = {});

// `path` is a file, or a directory: its files *.yaml then, in the order of their names.
ConfigResult load_config(const std::string& path, std::span<const ConfigOverride> overrides = {},
                         const ConfigCheck& check = {});

enum class Comments { No, Yes };  // Yes: above each key what it is for and what it takes
std::string effective_yaml(const Config& config, Comments comments = Comments::No);
// What differs from the defaults; empty where nothing does.
std::string changed_yaml(const Config& config);

}  // namespace lastlight
