// Every key of the configuration file, described once: its name, what it takes, what it is for, how its text is read
// into the struct and printed from it. The reader, the printer, the known-key lists and the comments of `lastlight
// check` walk these tables, so they cannot differ. No YAML here.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config.h"

namespace lastlight {

struct Key {
  enum class Shape {
    Scalar,   // one text
    List,     // a sequence of texts; with `word` set, that one text may stand instead of it
    Section,  // a mapping: `keys`
    Items,    // a sequence of mappings
  };
  Shape shape = Shape::Scalar;
  std::string name;
  std::string expected;  // "a duration from 1s to 5m"
  std::string purpose;
  bool required = false;
  bool restart = false;  // a change takes effect when the agent is started anew

  std::function<bool(std::string_view)> read;            // Scalar, and each text of a List; false: not as expected
  std::function<std::vector<std::string>()> print;       // Scalar: one; List: all
  std::string word;                                      // List
  std::function<void(bool)> set_word;                    // List: clears the list, and sets whether the word was used
  std::function<bool()> has_word;                        // List
  std::vector<Key> keys;                                 // Section
  std::function<void()> clear;                           // Items
  std::function<std::vector<Key>()> append;              // Items: adds one and describes it
  std::function<std::vector<std::vector<Key>>()> items;  // Items: describes those there are
};

// The keys bound to this object, which must outlive them. An item appended later does not move earlier ones' keys: read
// one item before the next is appended.
std::vector<Key> keys_of(Config& config);
std::vector<Key> keys_of(HooksConfig& hooks);
std::vector<Key> interruption_keys(InterruptionConfig& interruption);  // a section of them

}  // namespace lastlight
