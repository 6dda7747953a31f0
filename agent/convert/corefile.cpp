#include "agent/convert/corefile.h"

#include <cstddef>
#include <utility>

namespace lastlight::convert {
namespace {

constexpr std::size_t kMostTokens = 1U << 16;
constexpr int kDeepest = 4;  // braces in braces

struct Token {
  int line = 0;
  std::string text;
  bool quoted = false;
  bool is(std::string_view word) const { return !quoted && text == word; }
};

using Tokens = std::vector<Token>;
using Failure = std::unexpected<CorefileError>;

Failure failure(int line, std::string message) {
  return Failure(CorefileError{line, std::move(message)});
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::expected<Tokens, CorefileError> scan() {
    Tokens out;
    while (skip_to_token()) {
      if (out.size() == kMostTokens) return failure(line_, "too long");
      auto token = text_[at_] == '"' ? quoted() : bare();
      if (!token) return Failure(token.error());
      out.push_back(std::move(*token));
    }
    return out;
  }

 private:
  bool skip_to_token() {
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '#') {
        while (at_ < text_.size() && text_[at_] != '\n')
          ++at_;
      }
      if (at_ == text_.size()) return false;
      if (text_[at_] == '\n') ++line_;
      if (!is_space(text_[at_])) return true;
    }
    return false;
  }

  std::expected<Token, CorefileError> quoted() {
    Token token{line_, "", true};
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] == '"') ++at_;
      if (text_[at_] == '\n') ++line_;
      token.text += text_[at_];
    }
    if (at_ == text_.size()) return failure(token.line, "a quotation that does not end");
    ++at_;
    return token;
  }

  std::expected<Token, CorefileError> bare() {
    Token token{line_, "", false};
    for (; at_ < text_.size() && !is_space(text_[at_]); ++at_)
      token.text += text_[at_];
    if (token.text.starts_with("{$") || token.text.starts_with("{%")) {
      return failure(line_, token.text + " is taken from CoreDNS's environment: write its value");
    }
    return token;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
};

class Parser {
 public:
  explicit Parser(Tokens tokens) : tokens_(std::move(tokens)) {}

  std::expected<std::vector<ServerBlock>, CorefileError> parse() {
    std::vector<ServerBlock> out;
    while (at_ < tokens_.size()) {
      ServerBlock block{here().line, {}, {}};
      for (; at_ < tokens_.size() && !here().is("{"); ++at_) {
        std::string key = here().text;
        if (key == "import" || key.starts_with('('))
          return failure(here().line, key + ": imports and snippets: write them out");
        if (key == "}") return failure(here().line, "a brace that closes nothing");
        while (key.ends_with(','))
          key.pop_back();
        if (!key.empty()) block.keys.push_back(std::move(key));
      }
      if (at_ == tokens_.size()) return failure(block.line, "expected { after the zones");
      ++at_;
      auto directives = parse_block(1);
      if (!directives) return Failure(directives.error());
      block.directives = std::move(*directives);
      out.push_back(std::move(block));
    }
    return out;
  }

 private:
  const Token& here() const { return tokens_[at_]; }

  // After the opening brace, to behind the closing one.
  std::expected<std::vector<Directive>, CorefileError> parse_block(int depth) {
    const int opened = at_ > 0 ? tokens_[at_ - 1].line : 1;
    if (depth > kDeepest) return failure(opened, "braces too deep");
    std::vector<Directive> out;
    while (at_ < tokens_.size() && !here().is("}")) {
      if (here().is("import")) return failure(here().line, "import: write out what it brings");
      if (here().is("{")) return failure(here().line, "a brace that belongs to nothing");
      Directive directive{here().line, here().text, {}, {}};
      ++at_;
      while (at_ < tokens_.size() && here().line == directive.line && !here().is("{") && !here().is("}"))
        directive.arguments.push_back(tokens_[at_++].text);
      if (at_ < tokens_.size() && here().is("{")) {
        ++at_;
        auto block = parse_block(depth + 1);
        if (!block) return block;
        directive.block = std::move(*block);
      }
      out.push_back(std::move(directive));
    }
    if (at_ == tokens_.size()) return failure(opened, "a brace that is not closed");
    ++at_;
    return out;
  }

  Tokens tokens_;
  std::size_t at_ = 0;
};

}  // namespace

std::expected<std::vector<ServerBlock>, CorefileError> parse_corefile(std::string_view text) {
  auto tokens = Scanner(text).scan();
  if (!tokens) return Failure(tokens.error());
  return Parser(std::move(*tokens)).parse();
}

}  // namespace lastlight::convert
