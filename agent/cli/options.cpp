#include "agent/cli/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <optional>
#include <sstream>

#include "agent/cli/manual.h"
#include "agent/config/values.h"
#include "interrupt/manual.h"

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

void add_output_option(CLI::App& command, Output& out) {
  command
      .add_option_function<std::string>(
          "--output,-o", [&out](const std::string& word) { out = word == "json" ? Output::Json : Output::Text; },
          "text or json")
      ->type_name("WORD")
      ->check([](const std::string& word) {
        return word == "text" || word == "json" ? std::string() : "takes text or json, not '" + word + "'";
      });
}

// What is wrong with the first word, or nothing: it is a flag or a command.
std::optional<std::string> no_command(const CLI::App& app, std::string_view word) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  if (word.starts_with('-') || std::ranges::find(commands, word, &CLI::App::get_name) != commands.end())
    return std::nullopt;
  std::string out = word.empty() ? "a command is missing" : "no command '" + std::string(word) + "'";
  out += "; there are";
  for (const CLI::App* each : commands)
    out += " " + each->get_name() + ",";
  return out + " uninstall (--help says what each does)\n";
}

// As the command line spells it.
struct DrainWords {
  std::string kind;
  std::string in = "120s";
  bool for_real = false;
  bool cancel = false;
};

void add_drain_options(CLI::App& drain, DrainCommand& out, DrainWords& words) {
  auto* simulate = drain.add_option("--simulate", words.kind, "The notice: " + interrupt::kind_names());
  drain.add_option("--in", words.in, "When the machine would end")->capture_default_str()->needs(simulate);
  auto* real = drain.add_flag("--for-real", words.for_real, "Hand the notice to the running agent, which acts upon it");
  auto* cancel = drain.add_flag("--cancel", words.cancel, "Take a notice back that was handed over so, and its marks");
  real->needs(simulate);
  cancel->excludes(simulate);
  drain.add_flag("--standalone", out.standalone, "Where no agent runs: drain from here, or take marks away from here");
  add_output_option(drain, out.output);
}

// What is wrong with the words, or nothing.
std::optional<std::string> read_drain(const DrainWords& words, DrainCommand& out) {
  using Mode = DrainCommand::Mode;
  out.mode = words.cancel ? Mode::Cancel : words.for_real ? Mode::ForReal : Mode::DryRun;
  if (out.standalone && out.mode == Mode::DryRun) return "--standalone is for --for-real and --cancel";
  if (out.mode == Mode::Cancel) return std::nullopt;
  if (words.kind.empty()) return "--simulate KIND says for what notice, --cancel takes one back";
  const auto kind = interrupt::kind_of(words.kind);
  if (!kind) return "no such notice: '" + words.kind + "'; there are " + interrupt::kind_names();
  const auto in = parse_duration(words.in);
  if (!in || *in < interrupt::kShortestManual || *in > interrupt::kLongestManual)
    return "--in takes a time from 1s to 24h, not '" + words.in + "'";
  out.kind = *kind;
  out.in = *in;
  return std::nullopt;
}

void add_cache_commands(CLI::App& cache, CacheCommand& out, std::vector<std::string>& flushed) {
  cache.require_subcommand(1);
  CLI::App* get = cache.add_subcommand("get", "What is kept for a name, and why it is answered so");
  get->add_option("name", out.name, "A name in full, as it is asked")->required();
  get->add_option("type", out.type, "A, AAAA, SRV, ... or TYPE123")->capture_default_str();
  add_output_option(*get, out.output);
  CLI::App* flush = cache.add_subcommand("flush", "Forget answers");
  flush->add_option("what", flushed, "NAME, or `zone NAME` with everything below it, or `all` (a name `all` is `all.`)")
      ->required()
      ->expected(1, 2);
  add_output_option(*flush, out.output);
  CLI::App* top = cache.add_subcommand("top", "The names, missing names and clients asked for and asking most");
  top->add_option("--most,-n", out.most, "How many of each")->capture_default_str()->check(CLI::Range(1, 1000));
  add_output_option(*top, out.output);
}

// Nothing: these words mean nothing.
std::optional<CacheCommand::Verb> verb_of(const CLI::App& cache, const std::vector<std::string>& flushed,
                                          std::string& name) {
  using Verb = CacheCommand::Verb;
  const std::string chosen = cache.get_subcommands().front()->get_name();
  if (chosen != "flush") return chosen == "get" ? Verb::Get : Verb::Top;
  if (flushed.size() == 1 && flushed[0] == "all") return Verb::FlushAll;
  if (flushed.size() == 2 && flushed[0] != "zone") return std::nullopt;
  name = flushed.back();
  return flushed.size() == 2 ? Verb::FlushZone : Verb::FlushName;
}

}  // namespace

std::expected<Command, Usage> parse_command(int argc, const char* const* argv) {
  Command out;
  std::map<std::string_view, std::string> values;
  CLI::App app("DNS cache of a Kubernetes node, and its graceful end on a spot notice", "lastlight");
  app.require_subcommand(1);
  app.footer(
      "`lastlight uninstall` takes everything of lastlight off a node (uninstall --help).\n"
      "`lastlight --man` prints the manual, for `man -l -`.");
  CLI::App* run = app.add_subcommand("run", "Serve DNS and watch for the node's end");
  CLI::App* check = app.add_subcommand("check", "Validate the configuration and print it in full");
  CLI::App* version = app.add_subcommand("version", "Print the version");
  add_output_option(*version, out.output);
  CLI::App* status = app.add_subcommand(
      "status", "What the running agent does, a drain's timeline foremost; with --ready or --alive an exec probe");
  add_config_options(*run, out, values);
  add_config_options(*check, out, values);
  check->add_flag("--comments", out.comments, "Say above each key what it is for and what it takes");
  check->add_flag("--reference", out.reference, "Print every key, its default and what it takes as Markdown, and stop");
  add_output_option(*check, out.output);
  bool ready = false;
  bool alive = false;
  auto* probes = status->add_option_group("probe");
  probes->add_flag("--ready", ready, "Does it answer queries?");
  probes->add_flag("--alive", alive, "Does its loop turn?");
  probes->require_option(0, 1);
  status->add_flag("--follow,-f", out.status.follow, "Again each second");
  add_output_option(*status, out.status.output);
  CLI::App* cache = app.add_subcommand("cache", "Look into the running agent's cache, or forget");
  std::vector<std::string> flushed;
  add_cache_commands(*cache, out.cache, flushed);
  CLI::App* doctor = app.add_subcommand("doctor", "Prove that the node's DNS comes here, and say what is in its way");
  add_output_option(*doctor, out.doctor.output);
  doctor->add_option("--network-policies", out.doctor.network_policies,
                     "A file, or - : what `kubectl get networkpolicies -A -o json` prints");
  doctor->add_option("--pid", out.doctor.pid, "A process of the pod whose network is asked from; else the first found")
      ->check(CLI::PositiveNumber);
  status->add_option("--url", out.url, "Where it serves HTTP; else port 9253 of NODE_IP, then of loopback");
  CLI::App* drain = app.add_subcommand("drain", "Try a drain of this node: a dry run, unless --for-real");
  DrainWords drain_words;
  add_drain_options(*drain, out.drain, drain_words);
  add_config_options(*drain, out, values);
  CLI::App* convert = app.add_subcommand("convert", "Print the configuration that replaces what a node runs now");
  auto* sources = convert->add_option_group("sources");
  sources->add_option("--corefile", out.corefile, "NodeLocal DNSCache's Corefile, its placeholders filled in or not");
  sources->add_option("--kube-dns-configmap", out.kube_dns_configmap,
                      "A directory with the ConfigMap kube-dns: stubDomains, upstreamNameservers");
  sources->add_option("--nth-env", out.nth_env, "AWS Node Termination Handler's environment, as lines KEY=VALUE");
  sources->require_option(1, 3);
  add_output_option(*convert, out.output);

  if (argc == 2 && std::string_view(argv[1]) == "--man") return std::unexpected(Usage{0, manual(app)});
  if (const auto wrong = no_command(app, argc > 1 ? argv[1] : "")) return std::unexpected(Usage{2, *wrong});
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // the library's only way to say so
    std::ostringstream text;
    const int code = app.exit(error, text, text);
    return std::unexpected(Usage{code == 0 ? 0 : 2, text.str()});
  }
  const CLI::App* chosen = app.get_subcommands().front();
  const std::map<std::string, Command::Name> names{
      {"run", Command::Name::Run},       {"check", Command::Name::Check},     {"version", Command::Name::Version},
      {"status", Command::Name::Status}, {"convert", Command::Name::Convert}, {"cache", Command::Name::Cache},
      {"drain", Command::Name::Drain},   {"doctor", Command::Name::Doctor}};
  out.name = names.at(chosen->get_name());
  if (out.name == Command::Name::Cache) {
    const auto verb = verb_of(*chosen, flushed, out.cache.name);
    if (!verb) return std::unexpected(Usage{2, "flush takes NAME, `zone NAME` or `all`\n"});
    out.cache.verb = *verb;
  }
  if (out.name == Command::Name::Drain) {
    if (const auto wrong = read_drain(drain_words, out.drain)) return std::unexpected(Usage{2, *wrong + "\n"});
  }
  if (alive || ready) out.probe = alive ? Command::Probe::Alive : Command::Probe::Ready;
  for (const OverrideName& name : override_names()) {
    if (name.flag.empty() || values[name.flag].empty()) continue;
    out.overrides.push_back({std::string(name.key), "command line", std::string(name.flag), values[name.flag]});
  }
  return out;
}

}  // namespace lastlight::cli
