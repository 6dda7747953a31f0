#include "interrupt/hooks/template.h"

#include "interrupt/hooks/check.h"
#include "interrupt/hooks/event.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

const Json kEvent = {{"text", "a \"b\"\n\\c"}, {"n", 7}, {"list", {"x", "y"}}, {"pods", {{"told", 2}}}};

std::string render(std::string_view text) {
  const auto made = Template::parse(text, kEvent);
  if (!made) return "error: " + made.error();
  return made->render(kEvent);
}

std::vector<std::string> problems(const HooksConfig& hooks) {
  std::vector<std::string> out;
  check_hooks(hooks, [&](const std::string& key, const std::string& message) { out.push_back(key + ": " + message); });
  return out;
}

WebhookConfig webhook(std::string body) {
  WebhookConfig out;
  out.name = "w";
  out.url = "http://127.0.0.1/";
  out.body = std::move(body);
  return out;
}

}  // namespace

TEST_CASE("a template fills its places, escaped for JSON", "[hooks]") {
  CHECK(render("").empty());
  CHECK(render("no places { } }}") == "no places { } }}");
  CHECK(render(R"({"t":"{{ text }}"})") == R"({"t":"a \"b\"\n\\c"})");
  CHECK(render("{{text}}{{  n  }}") == R"(a \"b\"\n\\c7)");
  CHECK(render("{{ list }}|{{ json list }}|{{ pods.told }}|{{ json pods }}") == R"(x, y|["x","y"]|2|{"told":2})");
  CHECK(render("{{ json . }}") == dump_json(kEvent));
  CHECK(render("{{ json text }}") == R"("a \"b\"\n\\c")");
}

TEST_CASE("a template with a mistake is refused, with its line", "[hooks]") {
  CHECK(render("x\n{{ txet }}") == "error: line 2: there is no field \"txet\"; there are: list n pods text");
  CHECK(render("{{ text") == "error: line 1: {{ without }}");
  CHECK(render("{{ }}").starts_with("error: line 1: there is no field \"\""));
  CHECK(render("{{ . }}").starts_with("error: "));
  CHECK(render("{{ pods.missing }}").starts_with("error: "));
  CHECK(render("{{ text.deeper }}").starts_with("error: "));
  CHECK(render(std::string(Template::kMaxText + 1, 'x')).starts_with("error: longer than"));
}

TEST_CASE("hooks that cannot work are said at start", "[hooks]") {
  const auto one = [](WebhookConfig hook) {
    HooksConfig hooks;
    hooks.webhooks = {std::move(hook)};
    return problems(hooks);
  };
  CHECK(one(webhook("{{ json . }}")).empty());
  CHECK(one(webhook(R"({"text": "{{ text }}", "pods": {{ json refused }}})")).empty());
  CHECK(one(webhook("{{ nothing }}")).at(0).find("hooks.webhooks[0].body: line 1: there is no field") == 0);
  CHECK(one(webhook("{{ text }}")).at(0).find("is no JSON once filled in") != std::string::npos);
  WebhookConfig form = webhook("text={{ text }}");
  form.headers = {{.name = "CONTENT-TYPE", .value = "text/plain", .value_file = {}}};
  CHECK(one(form).empty());
  WebhookConfig both = webhook("{}");
  both.url_file = "/f";
  CHECK(one(both).at(0).find("either url or url-file") != std::string::npos);
  both.url = both.url_file = "";
  CHECK(one(both).size() == 1);
  WebhookConfig held = webhook("{}");
  held.hold = 5s;
  held.phases = {Phase::Drained};
  CHECK(one(held).at(0).find("hooks.webhooks[0].hold: needs the phase notice") == 0);
  held.phases = {};
  CHECK(one(held).size() == 2);
  HooksConfig hooks;
  hooks.webhooks = {webhook("{}"), webhook("{}")};
  CHECK(problems(hooks).at(0).find("hooks.webhooks[1].name: w is there already") == 0);
  hooks.webhooks.clear();
  for (std::size_t i = 0; i <= kMaxReceivers; ++i)
    hooks.commands.push_back({.file = "c" + std::to_string(i)});
  CHECK(problems(hooks).at(0).find("more than 16") != std::string::npos);
}
