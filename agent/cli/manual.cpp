#include "agent/cli/manual.h"

#include <CLI/CLI.hpp>

#include "agent/cli/usage.h"
#include "agent/config/file.h"
#include "agent/version.h"

namespace lastlight::cli {
namespace {

// `text` as troff has it: a dash that can be copied, nothing taken for a request.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '-') {
      out += "\\-";
    } else if (c == '\\') {
      out += "\\e";
    } else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) {
      out += "\\&";
      out += c;
    } else {
      out += c;
    }
  }
  return out;
}

// "--output,-o TEXT", or a positional's name.
std::string usage_of(const CLI::Option& option) {
  std::string out = "\\fB" + plain(option.get_name(option.get_positional(), !option.get_positional())) + "\\fR";
  if (option.get_positional() || option.get_expected_max() == 0) return out;  // a flag
  const std::string type = option.get_type_name();
  const std::string word = type.substr(0, type.find(':'));
  return out + " \\fI" + plain(word.empty() || word == "ENUM" ? "WORD" : word) + "\\fR";
}

void options_of(const CLI::App& command, std::string& out) {
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_lnames() == std::vector<std::string>{"help"}) continue;
    out += ".TP\n" + usage_of(*option) + "\n" + plain(option->get_description());
    if (!option->get_default_str().empty()) out += " (default: " + plain(option->get_default_str()) + ")";
    out += out.back() == '?' ? "\n" : ".\n";
  }
  // Options in a group are those of a nameless command.
  for (const CLI::App* group : command.get_subcommands([](const CLI::App* app) { return app->get_name().empty(); }))
    options_of(*group, out);
}

void commands_of(const CLI::App& app, const std::string& before, std::string& out) {
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* each) { return !each->get_name().empty(); })) {
    const std::string name = before + command->get_name();
    out += ".SS " + plain(name) + "\n" + plain(command->get_description()) + ".\n";
    options_of(*command, out);
    commands_of(*command, name + " ", out);
  }
}

// A text with columns of its own.
std::string as_it_is(const char* text) {
  return ".nf\n" + plain(text) + ".fi\n";
}

constexpr const char* kTail = R"(.SH EXIT STATUS
.TP
.B 0
Done, or the answer is yes.
.TP
.B 1
It failed, or the answer is no; standard error says why and what to do.
.TP
.B 2
The command line is wrong, or (doctor) names what cannot be read.
.SH SIGNALS
.TP
.B SIGTERM
Leave: answer what is in flight; on a node that is drained, until its last pod has left.
.TP
.B SIGHUP
Read the configuration again.
.SH FILES
.TP
.I /etc/lastlight/lastlight.yaml
The configuration.
.TP
.I /run/lastlight
Sockets of the running agent, and what it goes on from after a restart.
.SH SEE ALSO
.BR kubectl (1),
.BR nft (8);
CONFIGURATION.md and OPERATIONS.md of the sources.
)";

}  // namespace

std::string manual(const CLI::App& app) {
  std::string out =
      ".TH LASTLIGHT 8 \"\" \"lastlight " + plain(std::string(kVersion)) + "\" \"System Administration\"\n";
  out += ".SH NAME\nlastlight \\- " + plain(app.get_description()) + "\n";
  out += ".SH SYNOPSIS\n.B lastlight\n.I command\n.RI [ options ]\n.PP\n.B lastlight \\-\\-man\n";
  out += ".SH COMMANDS\nEach takes \\fB\\-\\-help\\fR.\n";
  commands_of(app, "", out);
  out += ".SS uninstall\n" + as_it_is(kUninstallUsage);
  out += ".SS takeover\n" + as_it_is(kTakeoverUsage);
  out += ".SH ENVIRONMENT\nFlags win over the environment, that over files.\n";
  for (const OverrideName& name : override_names()) {
    if (!name.environment.empty())
      out += ".TP\n.B " + plain(std::string(name.environment)) + "\nSets " + plain(std::string(name.key)) + ".\n";
  }
  out += ".TP\n.B LASTLIGHT_RUN_DIR\nInstead of /run/lastlight.\n";
  out += ".TP\n.B KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT\nWhere the API server is.\n";
  out += ".TP\n.B HTTPS_PROXY, HTTP_PROXY, NO_PROXY\nFor webhooks.\n";
  return out + kTail;
}

}  // namespace lastlight::cli
