#include "agent/cli/options.h"

#include <CLI/CLI.hpp>
#include <map>
#include <sstream>

namespace lastlight::cli {
namespace {

// The flags are those of override_names(), so that a key gets its flag in one place.
void add_config_options(CLI::App& command, Command& out, std::map<std::string_view, std::string>& values) {
  command
      .add_option("--config", out.config,
                  "The configuration file, or a directory of *.yaml read in the order of their names")
      ->capture_default_str();
  for (const OverrideName& name : override_names()) {
    if (name.flag.empty()) continue;
    std::string purpose = "Sets " + std::string(name.key);
    if (!name.environment.empty()) purpose += ", over the environment's " + std::string(name.environment);
    command.add_option(std::string(name.flag), values[name.flag], purpose);
  }
}

}  // namespace

std::expected<Command, Usage> parse_command(int argc, const char* const* argv) {
  Command out;
  std::map<std::string_view, std::string> values;
  CLI::App app("DNS cache of a Kubernetes node, and its graceful end on a spot notice", "lastlight");
  app.require_subcommand(1);
  CLI::App* run = app.add_subcommand("run", "Serve DNS and watch for the node's end");
  CLI::App* check = app.add_subcommand("check", "Validate the configuration and print it in full");
  app.add_subcommand("version", "Print the version");
  CLI::App* status = app.add_subcommand("status", "Ask the running agent: exit code 0 for yes (for exec probes)");
  add_config_options(*run, out, values);
  add_config_options(*check, out, values);
  check->add_flag("--comments", out.comments, "Say above each key what it is for and what it takes");
  bool ready = false;
  bool alive = false;
  auto* probes = status->add_option_group("probe");
  probes->add_flag("--ready", ready, "Does it answer queries?");
  probes->add_flag("--alive", alive, "Does its loop turn?");
  probes->require_option(1);
  status->add_option("--url", out.url, "Where it serves HTTP")->capture_default_str();
  CLI::App* convert = app.add_subcommand("convert", "Print the configuration that replaces what a node runs now");
  auto* sources = convert->add_option_group("sources");
  sources->add_option("--corefile", out.corefile, "NodeLocal DNSCache's Corefile, its placeholders filled in or not");
  sources->add_option("--kube-dns-configmap", out.kube_dns_configmap,
                      "A directory with the ConfigMap kube-dns: stubDomains, upstreamNameservers");
  sources->add_option("--nth-env", out.nth_env, "AWS Node Termination Handler's environment, as lines KEY=VALUE");
  sources->require_option(1, 3);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // the library's only way to say so
    std::ostringstream text;
    const int code = app.exit(error, text, text);
    return std::unexpected(Usage{code == 0 ? 0 : 2, text.str()});
  }
  const CLI::App* chosen = app.get_subcommands().front();
  const std::map<std::string, Command::Name> names{{"run", Command::Name::Run},
                                                   {"check", Command::Name::Check},
                                                   {"version", Command::Name::Version},
                                                   {"status", Command::Name::Status},
                                                   {"convert", Command::Name::Convert}};
  out.name = names.at(chosen->get_name());
  out.probe = alive ? Command::Probe::Alive : Command::Probe::Ready;
  for (const OverrideName& name : override_names()) {
    if (name.flag.empty() || values[name.flag].empty()) continue;
    out.overrides.push_back({std::string(name.key), "command line", std::string(name.flag), values[name.flag]});
  }
  return out;
}

}  // namespace lastlight::cli
