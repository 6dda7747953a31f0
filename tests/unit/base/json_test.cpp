#include "agent/base/json.h"

#include "tests/support/catch.h"

using namespace lastlight;

TEST_CASE("readers find what is there and return defaults for the rest") {
  const auto pod = parse_json(
      R"({"metadata":{"name":"web-0","labels":{"a":"b"}},"spec":{"n":30,"big":18446744073709551615,"neg":-4,"f":1.5,
          "host":true,"list":[1,2]}})");
  REQUIRE(pod);
  CHECK(string_at(*pod, "metadata", "name") == "web-0");
  CHECK(string_at(*pod, "metadata", "namespace").empty());
  CHECK(string_at(*pod, "spec", "n").empty());
  CHECK(string_at(*pod, "metadata", "name", "deeper").empty());
  CHECK(int_at(*pod, "spec", "n") == 30);
  CHECK(int_at(*pod, "spec", "neg") == -4);
  CHECK_FALSE(int_at(*pod, "spec", "big"));
  CHECK_FALSE(int_at(*pod, "spec", "f"));
  CHECK_FALSE(int_at(*pod, "spec", "host"));
  CHECK(bool_at(*pod, "spec", "host"));
  CHECK_FALSE(bool_at(*pod, "spec", "n"));
  CHECK_FALSE(bool_at(*pod, "absent"));
  CHECK(array_at(*pod, "spec", "list").size() == 2);
  CHECK(array_at(*pod, "spec", "n").empty());
  CHECK(object_at(*pod, "metadata", "labels").size() == 1);
  CHECK(object_at(*pod, "spec", "list").empty());
  CHECK(find(*pod, "spec", "f") != nullptr);
  CHECK(find(*pod, "nothing") == nullptr);
}

TEST_CASE("a text that is no JSON says where") {
  for (const char* text : {"", "{", "[1,]", "nul", "{\"a\":1}x", "\"\x80\"", "1e999"}) {
    const auto parsed = parse_json(text);
    INFO(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().find("not JSON at byte") != std::string::npos);
  }
  CHECK(parse_json("{\"secret\":hunter2}").error().find("hunter") == std::string::npos);
}

TEST_CASE("size and depth are bounded") {
  const auto nested = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  CHECK(parse_json(nested(64)));
  CHECK(parse_json(nested(65)).error() == "nested deeper than 64 levels");
  CHECK_FALSE(parse_json(nested(1000000)));
  CHECK(parse_json(R"(["[[[[[[", "\"[[[["])", {.depth = 1}));
  CHECK(parse_json("[1]", {.bytes = 3}));
  CHECK(parse_json("[1] ", {.bytes = 3}).error() == "longer than 3 bytes");
}

TEST_CASE("the items of a list are handed over one by one and not kept") {
  std::vector<std::string> names;
  const auto take = [&names](const Json& item) { names.push_back(string_at(item, "metadata", "name")); };
  const auto rest = parse_json_list(
      R"({"kind":"L","metadata":{"a":{"name":"no"}},"items":[{"metadata":{"name":"x"}},7,{"items":[{}]},[{}]],"more":[{}]})",
      "items", take);
  REQUIRE(rest);
  CHECK(names == std::vector<std::string>{"x", ""});
  CHECK(*rest == *parse_json(R"({"kind":"L","metadata":{"a":{"name":"no"}},"items":[7,[{}]],"more":[{}]})"));
  CHECK(parse_json_list(R"({"items":null})", "items", take)->at("items").is_null());
  CHECK(parse_json_list(R"({"items":[{"a":1},})", "items", take).error().find("not JSON at byte") != std::string::npos);
  CHECK_FALSE(parse_json_list("[[[]]]", "items", take, {.depth = 2}));
}

TEST_CASE("printing replaces what is no UTF-8") {
  CHECK(dump_json(Json{{"a", "x\xff"}}) == "{\"a\":\"x\xef\xbf\xbd\"}");
}
