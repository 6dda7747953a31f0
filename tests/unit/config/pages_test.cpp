// What the program prints about itself for people to read: the reference of the configuration and the manual.
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>

#include "agent/cli/options.h"
#include "agent/config/keys.h"
#include "agent/config/reference.h"

#include "tests/support/catch.h"

using namespace lastlight;

namespace {

// The text that a command line without anything to run prints; it must end well.
std::string printed(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "lastlight");
  const auto command = cli::parse_command(static_cast<int>(arguments.size()), arguments.data());
  REQUIRE_FALSE(command);
  REQUIRE(command.error().exit_code == 0);
  return command.error().text;
}

std::set<std::string> matches(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  std::set<std::string> out;
  for (auto each = std::sregex_iterator(text.begin(), text.end(), regex); each != std::sregex_iterator(); ++each)
    out.insert((*each)[1]);
  return out;
}

std::string without_backslashes(std::string text) {
  std::erase(text, '\\');
  return text;
}

// "run", "cache", "cache get", ...: each command that --help names, with those below it.
void walk(const std::vector<const char*>& before, std::vector<std::string>& words_of, std::set<std::string>& flags) {
  std::vector<const char*> asked = before;
  asked.push_back("--help");
  const std::string help = printed(asked);
  for (const std::string& flag : matches(help, "(--[a-z][a-z0-9-]*)"))
    flags.insert(flag);
  const std::size_t at = help.find("Subcommands:");
  if (at == std::string::npos) return;
  for (const std::string& name : matches(help.substr(at), "\n  ([a-z]+) ")) {
    std::vector<const char*> below = before;
    below.push_back(name.c_str());
    std::string words;
    for (const char* word : below)
      words += (words.empty() ? "" : " ") + std::string(word);
    words_of.push_back(words);
    walk(below, words_of, flags);
  }
}

void count(const std::vector<Key>& keys, std::size_t& rows) {
  for (const Key& key : keys) {
    if (key.shape == Key::Shape::Section) {
      count(key.keys, rows);
      continue;
    }
    ++rows;
    if (key.shape == Key::Shape::Items) count(key.append(), rows);
  }
}

}  // namespace

TEST_CASE("CONFIGURATION.md is what the program prints") {
  std::ifstream file("CONFIGURATION.md");
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  const bool same = page == config_reference();
  INFO("print it again: build/release/agent/lastlight-agent check --reference >CONFIGURATION.md");
  CHECK(same);
}

TEST_CASE("the reference has a row for every key") {
  Config config;
  std::size_t rows = 0;
  count(keys_of(config), rows);
  CHECK(rows > 80);
  const std::string page = config_reference();
  const std::string keys = page.substr(0, page.find("## Environment and flags"));
  CHECK(matches(keys, "\n\\| `([a-z0-9.\\[\\]-]+)` \\| .+ \\| .+ \\|").size() == rows);
  for (const char* row : {"| `node-name` |", "| `dns.zones[].upstreams` |",
                          "| `hooks.webhooks[].headers[].value-file` |", "| `interruption.policy.lead` |"})
    CHECK(keys.find(row) != std::string::npos);
}

TEST_CASE("the manual has every command and flag") {
  const std::string manual = without_backslashes(printed({"--man"}));
  std::vector<std::string> commands;
  std::set<std::string> flags;
  walk({}, commands, flags);
  CHECK(commands.size() >= 9);
  CHECK(flags.size() > 12);
  for (const std::string& command : commands) {
    INFO(command);
    CHECK(manual.find("\n.SS " + command + "\n") != std::string::npos);
  }
  for (const std::string& flag : flags) {
    INFO(flag);
    CHECK(manual.find(flag) != std::string::npos);
  }
  for (const char* part : {"SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SIGNALS"})
    CHECK(manual.find("\n.SH " + std::string(part) + "\n") != std::string::npos);
  CHECK(manual.find(".SS takeover") != std::string::npos);
}
