#include "agent/config/reload.h"

#include <algorithm>

#include "agent/config/keys.h"

namespace lastlight {
namespace {

// All of a key as texts: two values are the same if these are.
void print(const Key& key, std::vector<std::string>& out) {
  out.push_back(key.name);
  if (key.has_word && key.has_word()) out.push_back(key.word);
  if (key.print) {
    for (std::string& text : key.print())
      out.push_back(std::move(text));
  }
  for (const Key& inner : key.keys)
    print(inner, out);
  if (!key.items) return;
  for (const std::vector<Key>& item : key.items()) {
    for (const Key& inner : item)
      print(inner, out);
  }
}

bool same(const Key& a, const Key& b) {
  std::vector<std::string> left, right;
  print(a, left);
  print(b, right);
  return left == right;
}

// Gives `into` the value of `from`; both are of one table.
void copy(const Key& into, const Key& from) {
  if (into.shape == Key::Shape::Items) {
    into.clear();
    for (const std::vector<Key>& item : from.items()) {
      const std::vector<Key> added = into.append();
      for (std::size_t i = 0; i < item.size(); ++i)
        copy(added[i], item[i]);
    }
    return;
  }
  if (into.shape == Key::Shape::List) into.set_word(from.has_word());
  for (const std::string& text : from.print())
    into.read(text);
}

void compare(const std::vector<Key>& running, const std::vector<Key>& next, const std::string& path, Reload& out) {
  for (std::size_t i = 0; i < running.size(); ++i) {
    const std::string name = path.empty() ? running[i].name : path + "." + running[i].name;
    if (running[i].shape == Key::Shape::Section) {
      compare(running[i].keys, next[i].keys, name, out);
    } else if (same(running[i], next[i])) {
      continue;
    } else if (running[i].restart) {
      copy(next[i], running[i]);
      out.restart.push_back(name);
    } else {
      out.changed.push_back(name);
    }
  }
}

}  // namespace

Reload plan_reload(const Config& running, const Config& next) {
  Reload out{.config = next, .changed = {}, .restart = {}};
  Config before = running;  // the table binds to what it may also write
  compare(keys_of(before), keys_of(out.config), "", out);
  return out;
}

}  // namespace lastlight
