#include "interrupt/hooks/check.h"

#include <algorithm>
#include <set>

#include "interrupt/hooks/event.h"
#include "interrupt/hooks/template.h"

namespace lastlight::interrupt {
namespace {

using Problem = std::function<void(const std::string&, const std::string&)>;

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

Json sample_json(Phase phase) {
  return event_json(sample_event(phase), "node", Instant(), WallTime());
}

bool sends_json(const WebhookConfig& webhook) {
  const auto type = std::ranges::find_if(
      webhook.headers, [](const HeaderConfig& header) { return same_name(header.name, "content-type"); });
  return type == webhook.headers.end() || type->value.find("json") != std::string::npos;
}

void check_body(const WebhookConfig& webhook, const std::string& key, const Problem& problem) {
  const auto body = Template::parse(webhook.body, sample_json(Phase::Notice));
  if (!body) return problem(key, body.error());
  if (!sends_json(webhook)) return;
  for (const Phase phase : webhook.phases) {
    if (const auto json = parse_json(body->render(sample_json(phase))); !json) {
      return problem(key, "is no JSON once filled in (" + json.error() + "), and Content-Type says that it is");
    }
  }
}

template <class Hook>
void check_phases(const Hook& hook, const std::string& key, const Problem& problem) {
  if (hook.phases.empty()) problem(key + ".phases", "is empty: it would never be told anything");
  if (hook.hold > Duration::zero() && std::ranges::find(hook.phases, Phase::Notice) == hook.phases.end()) {
    problem(key + ".hold", "needs the phase notice: its answer to that is what evictions wait for");
  }
}

}  // namespace

void check_hooks(const HooksConfig& hooks, const Problem& problem) {
  std::set<std::string> names;
  for (std::size_t i = 0; i < hooks.webhooks.size(); ++i) {
    const WebhookConfig& webhook = hooks.webhooks[i];
    const std::string key = "hooks.webhooks[" + std::to_string(i) + "]";
    if (!names.insert(webhook.name).second) problem(key + ".name", webhook.name + " is there already");
    if (webhook.url.empty() == webhook.url_file.empty()) problem(key + ".url", "give either url or url-file");
    for (std::size_t h = 0; h < webhook.headers.size(); ++h) {
      if (!webhook.headers[h].value.empty() && !webhook.headers[h].value_file.empty()) {
        problem(key + ".headers[" + std::to_string(h) + "].value", "give either value or value-file");
      }
    }
    check_phases(webhook, key, problem);
    check_body(webhook, key + ".body", problem);
  }
  for (std::size_t i = 0; i < hooks.commands.size(); ++i) {
    const std::string key = "hooks.commands[" + std::to_string(i) + "]";
    if (!names.insert(hooks.commands[i].file).second)
      problem(key + ".file", hooks.commands[i].file + " is there already");
    check_phases(hooks.commands[i], key, problem);
  }
  if (hooks.webhooks.size() + hooks.commands.size() > kMaxReceivers) {
    problem("hooks", "more than " + std::to_string(kMaxReceivers) + " webhooks and commands");
  }
}

}  // namespace lastlight::interrupt
