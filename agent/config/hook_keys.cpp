// The keys of `hooks`: webhooks, commands and the notice endpoint.
#include <algorithm>
#include <array>
#include <utility>

#include "agent/config/key_kinds.h"
#include "agent/config/keys.h"
#include "agent/config/values.h"

namespace lastlight {
namespace {

using namespace key_kinds;

// Control characters could not be printed back.
bool is_path(std::string_view given) {
  return given.starts_with('/') && std::all_of(given.begin(), given.end(), [](char c) {
           return static_cast<unsigned char>(c) >= ' ' && c != 0x7f;
         });
}
bool is_path_or_empty(std::string_view given) {
  return given.empty() || is_path(given);
}
bool is_printable(std::string_view given) {
  return std::ranges::all_of(given, [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != 0x7f; });
}
// A body may have lines.
bool is_text(std::string_view given) {
  return std::ranges::all_of(
      given, [](char c) { return (static_cast<unsigned char>(c) >= ' ' && c != 0x7f) || c == '\n' || c == '\t'; });
}
bool is_url_or_empty(std::string_view given) {
  return given.empty() || is_url(given);
}
// The token of RFC 9110 s5.6.2, without its rarer signs.
bool is_header_name(std::string_view given) {
  return !given.empty() && std::ranges::all_of(given, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}
bool is_file_name(std::string_view given) {
  return is_printable(given) && !given.empty() && given.front() != '.' && given.find('/') == std::string_view::npos;
}
// The phases of an interruption that somebody wants to be told of.
Key phases(std::vector<HookPhase>& value, std::string purpose) {
  static constexpr std::array<std::pair<std::string_view, HookPhase>, 7> kPhases = {
      {{"notice", HookPhase::Notice},
       {"drain-started", HookPhase::DrainStarted},
       {"pod-refused", HookPhase::PodRefused},
       {"progress", HookPhase::Progress},
       {"drained", HookPhase::Drained},
       {"failed", HookPhase::Failed},
       {"withdrawn", HookPhase::Withdrawn}}};
  Key key = scalar("phases", "a list of notice, drain-started, pod-refused, progress, drained, failed, withdrawn",
                   std::move(purpose));
  key.shape = Key::Shape::List;
  key.read = [&value](std::string_view given) {
    const auto found = std::ranges::find(kPhases, given, &std::pair<std::string_view, HookPhase>::first);
    if (found == kPhases.end() || std::ranges::find(value, found->second) != value.end()) return false;
    value.push_back(found->second);
    return true;
  };
  key.print = [&value] {
    std::vector<std::string> out;
    for (const HookPhase phase : value)
      out.emplace_back(std::ranges::find(kPhases, phase, &std::pair<std::string_view, HookPhase>::second)->first);
    return out;
  };
  key.set_word = [&value](bool) { value.clear(); };
  key.has_word = [] { return false; };
  return key;
}

std::vector<Key> keys_of(HeaderConfig& header);
std::vector<Key> keys_of(WebhookConfig& webhook);
std::vector<Key> keys_of(CommandConfig& command);

// A list of mappings, each described by its own keys_of().
template <class Item>
Key items(std::string name, std::vector<Item>& value, std::string expected, std::string purpose) {
  Key key = scalar(std::move(name), std::move(expected), std::move(purpose));
  key.shape = Key::Shape::Items;
  key.clear = [&value] { value.clear(); };
  key.append = [&value] { return keys_of(value.emplace_back()); };
  key.items = [&value] {
    std::vector<std::vector<Key>> out;
    for (Item& item : value)
      out.push_back(keys_of(item));
    return out;
  };
  return key;
}

std::vector<Key> keys_of(HeaderConfig& header) {
  Key name = text("name", header.name, "a header's name", is_header_name, "Such as Authorization.");
  name.required = true;
  return {std::move(name), text("value", header.value, "printable text", is_printable, "As it is sent."),
          text("value-file", header.value_file, "an absolute path, or empty", is_path_or_empty,
               "Instead of a value: a file, read at each request, white space at its end left out.")};
}

std::vector<Key> keys_of(WebhookConfig& webhook) {
  Key name = text("name", webhook.name, "a short name of lower case, digits and -", is_label, "In logs and metrics.");
  name.required = true;
  return {std::move(name),
          text("url", webhook.url, "http://HOST[:PORT][/PATH] or https://...", is_url_or_empty, "Where to POST."),
          text("url-file", webhook.url_file, "an absolute path, or empty", is_path_or_empty,
               "Instead of a url: a file that has it, where the URL is a secret."),
          phases(webhook.phases, "What it is told."),
          items("headers", webhook.headers, "a list of mappings with name and value or value-file",
                "Sent with each request; Content-Type is application/json unless named here."),
          text("body", webhook.body, "a template over the event's JSON", is_text,
               "{{ field }} is text inside a JSON string, {{ json field }} a JSON value, {{ json . }} the event."),
          duration("timeout", webhook.timeout, 100ms, 1min, "Of one try; repeated until the node's end."),
          duration("hold", webhook.hold, 0s, 1min,
                   "The first evictions wait for its answer to the notice, at most so long; 0s: they do not.")};
}

std::vector<Key> keys_of(CommandConfig& command) {
  Key file = text("file", command.file, "a file's name, without a path", is_file_name, "In commands-directory.");
  file.required = true;
  return {std::move(file), phases(command.phases, "What it is started for."),
          duration("timeout", command.timeout, 100ms, 10min, "Then SIGTERM, and SIGKILL a second later."),
          duration("hold", command.hold, 0s, 1min,
                   "The first evictions wait for its end at the notice, at most so long; 0s: they do not.")};
}

}  // namespace

std::vector<Key> keys_of(HooksConfig& hooks) {
  return {addresses("listen", hooks.listen, "a list of IP[:PORT], service:NAME[:PORT] or node[:PORT]",
                    "Where pods ask GET /interruption, at the addresses of takeover.link-local too; one that is not "
                    "there yet is tried again.",
                    9255),
          duration("progress-interval", hooks.progress_interval, 1s, 10min, "The least time between two of them."),
          text("ca-file", hooks.ca_file, "an absolute path, or empty", is_path_or_empty,
               "Whom webhooks trust; empty: the system's authorities."),
          items("webhooks", hooks.webhooks, "a list of mappings with name and url",
                "Told in parallel by POST, each in the order of what happened."),
          text("commands-directory", hooks.commands_directory, "an absolute path", is_path, "Mounted by you."),
          items("commands", hooks.commands, "a list of mappings with file",
                "Started with the event's JSON on their standard input.")};
}

}  // namespace lastlight
