// A Corefile as it is written: server blocks, their directives, and those of a directive's block. Owns the syntax alone
// (tokens, quotes, comments, braces) and knows no plugin. Never reads a file. What CoreDNS would fetch from elsewhere
// (import, snippets, environment variables) is refused with its line.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace lastlight::convert {

struct Directive {
  int line = 0;
  std::string name;
  std::vector<std::string> arguments;
  std::vector<Directive> block;
};

struct ServerBlock {
  int line = 0;
  std::vector<std::string> keys;  // zones, with scheme and port as written
  std::vector<Directive> directives;
};

struct CorefileError {
  int line = 0;
  std::string message;
};

std::expected<std::vector<ServerBlock>, CorefileError> parse_corefile(std::string_view text);

}  // namespace lastlight::convert
