#include "agent/config/reference.h"

#include <utility>
#include <vector>

#include "agent/config/file.h"
#include "agent/config/keys.h"

namespace lastlight {
namespace {

constexpr const char* kHead = R"(# Configuration

Printed by `lastlight check --reference`; a test compares it, so edit the tables of `agent/config/keys.cpp` and print it again.

`--config` names a YAML file, or a directory whose files `*.yaml` are read in the order of their names: a key's last value wins, lists are
replaced. Flags win over the environment, that over files, those over defaults. `lastlight check` names file, line and key of what is wrong;
`lastlight check --comments` prints a whole configuration with these words. Keys without *restart* follow the file while the agent runs.
)";
constexpr const char* kColumns = "\n| Key | Takes | Default | Change | For |\n| --- | --- | --- | --- | --- |\n";

// `text` in a table's cell.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string joined(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts)
    out += (out.empty() ? "" : ", ") + text;
  return out;
}

std::string default_of(const Key& key) {
  if (key.required) return "required";
  if (key.shape == Key::Shape::Items) return "`[]`";
  if (key.shape == Key::Shape::List && key.has_word()) return "`" + key.word + "`";
  const std::string text = joined(key.print());
  if (text.empty()) return key.shape == Key::Shape::List ? "`[]`" : "empty";
  return "`" + cell(text) + "`";
}

class Reference {
 public:
  // Rows first, then a part for each section, so that no table is within another.
  void part(const std::vector<Key>& keys, const std::string& prefix) {
    out_ += kColumns;
    rows(keys, prefix);
    for (const Key& key : keys) {
      if (key.shape != Key::Shape::Section) continue;
      out_ += "\n## " + prefix + key.name + "\n\n" + key.purpose + "\n";
      part(key.keys, prefix + key.name + ".");
    }
  }
  void add(const std::string& text) { out_ += text; }
  std::string take() { return std::move(out_); }

 private:
  void rows(const std::vector<Key>& keys, const std::string& prefix, bool restart = false) {
    for (const Key& key : keys) {
      if (key.shape == Key::Shape::Section) continue;
      const bool waits = restart || key.restart;
      out_ += "| `" + prefix + key.name + "` | " + cell(key.expected) + " | " + default_of(key) + " | " +
              (waits ? "restart" : "") + " | " + cell(key.purpose) + " |\n";
      if (key.shape == Key::Shape::Items) rows(key.append(), prefix + key.name + "[].", waits);
    }
  }

  std::string out_;
};

}  // namespace

std::string config_reference() {
  Config config;
  Reference reference;
  reference.add(kHead);
  reference.part(keys_of(config), "");
  reference.add("\n## Environment and flags\n\n| Key | Environment | Flag |\n| --- | --- | --- |\n");
  const auto code = [](std::string_view name) { return name.empty() ? "" : "`" + std::string(name) + "`"; };
  for (const OverrideName& name : override_names())
    reference.add("| `" + std::string(name.key) + "` | " + code(name.environment) + " | " + code(name.flag) + " |\n");
  return reference.take();
}

}  // namespace lastlight
