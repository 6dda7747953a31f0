#include "agent/cli/drain.h"

#include <cmath>
#include <map>
#include <ostream>
#include <sstream>

#include "agent/api_server.h"
#include "agent/cli/ask_agent.h"
#include "agent/cli/check.h"
#include "agent/cli/drain_standalone.h"
#include "agent/cli/dry_run.h"
#include "agent/cli/table.h"

namespace lastlight::cli {

namespace {

using Mode = DrainCommand::Mode;

// "87 s", "1.5 s".
std::string in_seconds(const Json& of, const char* key) {
  const Json* found = find(of, key);
  const double value = found != nullptr && found->is_number() ? found->get<double>() : 0;
  std::ostringstream out;
  out << std::round(value * 10) / 10 << " s";
  return out.str();
}

std::string budget_cell(const Json& pod, const std::string& budgets) {
  if (budgets != "read") return budgets;
  const std::string name = string_at(pod, "budget", "name");
  if (name.empty()) return "none";
  return name + (bool_at(pod, "budget", "refuses") ? " refuses: " : ": ") + string_at(pod, "budget", "text");
}

std::vector<std::string> row_of(const Json& pod, const std::string& budgets) {
  const std::int64_t own = int_at(pod, "own_grace_seconds").value_or(0);
  const std::int64_t grace = int_at(pod, "grace_seconds").value_or(0);
  const std::string after = string_at(pod, "after_tier");
  const std::string cut = own > grace ? std::to_string(grace) + " of " + std::to_string(own) + " s" : "";
  return {string_at(pod, "namespace") + "/" + string_at(pod, "name"),
          string_at(pod, "tier"),
          cut.empty() ? std::to_string(grace) + " s" : cut,
          (after.empty() ? "" : "after " + after + ", by ") + in_seconds(pod, "evict_at_seconds"),
          in_seconds(pod, "delete_at_seconds"),
          budget_cell(pod, budgets),
          string_at(pod, "dry_run", "text")};
}

// Settled: nothing of it needs the node's own configuration.
int ask_running(const DrainCommand& command, std::ostream& out, std::ostream& errors) {
  const bool cancel = command.mode == Mode::Cancel;
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(command.in).count();
  const std::string target = "/drain?kind=" + std::string(interrupt::kind_name(command.kind)) +
                             "&milliseconds=" + std::to_string(milliseconds);
  const auto answer = cancel ? ask_agent("POST", "/drain/cancel") : ask_agent("POST", target);
  if (!answer) {
    errors << "lastlight: " << answer.error() << '\n';
    return 1;
  }
  if (command.output == Output::Json) {
    out << dump_json(*answer) << '\n';
  } else if (cancel) {
    out << "taken back: the agent takes its marks off the node; pods that were told to stop are not called back\n";
  } else {
    out << "the agent has the notice " << string_at(*answer, "id")
        << " and treats it by its policy: " << string_at(*answer, "treatment")
        << "\n`lastlight status --follow` shows it, `lastlight drain --cancel` takes it back\n";
  }
  return 0;
}

int show_plan(const DrainCommand& command, const Config& config, const std::string& api_server, std::ostream& out,
              std::ostream& errors) {
  const auto plan = dry_run(command, config, api_server);
  if (!plan) {
    errors << "lastlight: " << plan.error() << '\n';
    return 1;
  }
  out << (command.output == Output::Json ? dump_json(*plan) + '\n' : plan_text(*plan));
  return flawless(*plan) ? 0 : 1;
}

}  // namespace

std::string plan_text(const Json& plan) {
  std::ostringstream out;
  out << "dry run, nothing is changed: " << string_at(plan, "kind") << " of " << string_at(plan, "node") << ", "
      << string_at(plan, "action") << " in " << in_seconds(plan, "in_seconds")
      << "; by the policy: " << string_at(plan, "treatment") << '\n';
  if (bool_at(plan, "cordoned")) out << "the node is cordoned already\n";
  if (const std::string by = string_at(plan, "drained_by"); !by.empty()) out << "it is marked already: " << by << '\n';
  std::vector<std::vector<std::string>> rows = {{"POD", "TIER", "GRACE", "EVICT AT", "DELETE AT", "BUDGET", "DRY RUN"}};
  std::map<std::string, std::size_t> others;
  for (const Json& pod : array_at(plan, "pods")) {
    if (find(pod, "tier") != nullptr) {
      rows.push_back(row_of(pod, string_at(plan, "budgets")));
    } else {
      ++others[string_at(pod, "choice")];
    }
  }
  if (rows.size() > 1) {
    out << '\n';
    print_table(out, rows);
    out << '\n';
  }
  for (const auto& [choice, count] : others)
    out << count << " pods: " << choice << '\n';
  if (string_at(plan, "budgets") != "read")
    out << "budgets: " << string_at(plan, "budgets")
        << " (manifests/components/simulate permits the agents to read them)\n";
  for (const Json& why : array_at(plan, "missing"))
    out << "a drain would lack: " << string_or_empty(&why) << '\n';
  return out.str();
}

int drain(const Command& command, const Environment& environment, std::ostream& out, std::ostream& errors) {
  if (command.drain.mode != Mode::DryRun && !command.drain.standalone) return ask_running(command.drain, out, errors);
  const auto config = read_config(command, environment);
  if (!config) {
    for (const ConfigError& error : config.error())
      errors << error.to_string() << '\n';
    return 1;
  }
  const std::string api_server = api_server_url(config->kubernetes, environment);
  if (config->node_name.empty() || api_server.empty()) {
    errors << "lastlight: "
           << (config->node_name.empty() ? "which node? NODE_NAME or --node-name"
                                         : "which API server? KUBERNETES_SERVICE_HOST or --api-server")
           << '\n';
    return 1;
  }
  if (command.drain.mode == Mode::DryRun) return show_plan(command.drain, *config, api_server, out, errors);
  return drain_standalone(command.drain, *config, api_server, out, errors);
}

}  // namespace lastlight::cli
