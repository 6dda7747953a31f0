// A Config as the YAML that would give it.
#include <algorithm>
#include <utility>

#include "agent/config/file.h"
#include "agent/config/keys.h"

namespace lastlight {
namespace {

bool is_plain(const std::string& text) {
  const auto safe = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '/' ||
           c == ':' || c == '_' || c == '-';
  };
  if (text.empty() || text.front() == '-' || text.front() == ':' || text.back() == ':') return false;
  return text != "null" && text != "Null" && text != "NULL" && std::all_of(text.begin(), text.end(), safe);
}

std::string yaml_quoted(const std::string& text) {
  if (is_plain(text)) return text;
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n' || c == '\t') {
      out += c == '\n' ? "\\n" : "\\t";
    } else {
      out += c;
    }
  }
  return out + "\"";
}

class Printer {
 public:
  explicit Printer(Comments comments) : comments_(comments) {}

  // With `defaults`, the same table bound to another object (whose lists may grow by this), only what differs from it.
  void print(const std::vector<Key>& keys, const std::string& indent, std::string first,
             const std::vector<Key>* defaults = nullptr) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const Key& key = keys[i];
      const Key* usual = defaults ? &(*defaults)[i] : nullptr;
      if (usual && !key.required && text_of(key) == text_of(*usual)) continue;
      if (comments_ == Comments::Yes) {
        const bool section = key.shape == Key::Shape::Section;
        out_ += first + "# " + key.purpose + (section ? "" : " Takes " + key.expected + ".") +
                (key.restart && !section ? " A change needs a restart." : "") + "\n";
        first = indent;
      }
      out_ += first + key.name + ":";
      first = indent;
      print_value(key, indent, usual);
    }
  }
  std::string take() { return std::move(out_); }

 private:
  static std::string text_of(const Key& key) {
    Printer alone(Comments::No);
    alone.print_value(key, "", nullptr);
    return alone.take();
  }

  void print_value(const Key& key, const std::string& indent, const Key* defaults) {
    const std::string deeper = indent + "  ";
    switch (key.shape) {
      case Key::Shape::Scalar:
        out_ += " " + yaml_quoted(key.print().front()) + "\n";
        return;
      case Key::Shape::List:
        if (key.has_word()) {
          out_ += " " + key.word + "\n";
          return;
        }
        out_ += key.print().empty() ? " []\n" : "\n";
        for (const std::string& element : key.print())
          out_ += deeper + "- " + yaml_quoted(element) + "\n";
        return;
      case Key::Shape::Section:
        out_ += "\n";
        return print(key.keys, deeper, deeper, defaults ? &defaults->keys : nullptr);
      case Key::Shape::Items:
        out_ += key.items().empty() ? " []\n" : "\n";
        // A comment must not stand between the dash and the item's first key, so items are printed without.
        for (const std::vector<Key>& item : key.items()) {
          Printer plain(Comments::No);
          const std::vector<Key> fresh = defaults ? defaults->append() : std::vector<Key>();
          plain.print(item, deeper + "  ", deeper + "- ", defaults ? &fresh : nullptr);
          out_ += plain.take();
        }
        return;
    }
  }

  Comments comments_;
  std::string out_;
};

}  // namespace

std::string effective_yaml(const Config& config, Comments comments) {
  Config copy = config;  // the table binds to what it may also write
  Printer printer(comments);
  printer.print(keys_of(copy), "", "");
  return printer.take();
}

std::string changed_yaml(const Config& config) {
  Config copy = config;
  Config usual;
  usual.dns.zones = default_zones(copy.dns.cluster_domain);
  const std::vector<Key> defaults = keys_of(usual);
  Printer printer(Comments::No);
  printer.print(keys_of(copy), "", "", &defaults);
  return printer.take();
}

}  // namespace lastlight
