#include "agent/convert/corefile.h"

#include "tests/support/catch.h"
#include "tests/support/random.h"

using namespace lastlight::convert;

TEST_CASE("blocks, directives, arguments and their lines", "[convert]") {
  const auto blocks = parse_corefile(R"(# of the cluster
cluster.local:53, other.local {
  errors
  cache {
    success 9984 30
    denial 9984 5   # short
  }
  hosts "a file" "with \" in it" {
    10.0.0.1 a.example
  }
}
. { forward . 192.0.2.1 { force_tcp }
}
)");
  REQUIRE(blocks);
  REQUIRE(blocks->size() == 2);
  const ServerBlock& first = blocks->front();
  CHECK(first.keys == std::vector<std::string>{"cluster.local:53", "other.local"});
  CHECK(first.line == 2);
  REQUIRE(first.directives.size() == 3);
  CHECK(first.directives[1].block[1].arguments == std::vector<std::string>{"9984", "5"});
  CHECK(first.directives[1].block[1].line == 6);
  CHECK(first.directives[2].arguments == std::vector<std::string>{"a file", "with \" in it"});
  CHECK(first.directives[2].block[0].name == "10.0.0.1");
  REQUIRE(blocks->back().directives.size() == 1);
  CHECK(blocks->back().directives[0].block[0].name == "force_tcp");
  CHECK(parse_corefile("")->empty());
}

TEST_CASE("what is wrong is said of its line", "[convert]") {
  const auto error = [](const char* text) {
    const auto blocks = parse_corefile(text);
    return blocks ? std::string() : std::to_string(blocks.error().line) + " " + blocks.error().message;
  };
  CHECK(error(". {\n cache {\n }") == "1 a brace that is not closed");
  CHECK(error("\n}") == "2 a brace that closes nothing");
  CHECK(error(".") == "1 expected { after the zones");
  CHECK(error(". {\n {\n} }").starts_with("2 a brace that belongs"));
  CHECK(error(". {\n forward . \"a\n").starts_with("2 a quotation"));
  CHECK(error("(s) { errors }").starts_with("1 (s): imports"));
  CHECK(error(". {\n import s\n}").starts_with("2 import"));
  CHECK(error(". {\n forward . {$UPSTREAM}\n}").starts_with("2 {$UPSTREAM} is taken"));
  CHECK(error("a { b { c { d { e {\n").find("too deep") != std::string::npos);
}

TEST_CASE("any text is parsed or refused", "[convert][property]") {
  auto random = lastlight::test::seeded_random("corefile");
  static constexpr std::string_view kPieces[] = {"{", "}", " ",    "\n", "\"",     "\\",
                                                 "#", "a", ".:53", "{$", "import", "("};
  for (int i = 0; i < 20000; ++i) {
    std::string text;
    for (std::uint64_t left = random() % 24; left > 0; --left)
      text += kPieces[random() % std::size(kPieces)];
    const auto blocks = parse_corefile(text);
    if (!blocks) CHECK(blocks.error().line >= 1);
  }
}
