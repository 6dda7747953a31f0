// The worker and the commands: flags -> a command -> an exit code. Here, and in the reader of the configuration,
// exceptions end.
#include <algorithm>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include <sys/resource.h>

#include "agent/api_server.h"
#include "agent/app.h"
#include "agent/base/log.h"
#include "agent/cli/cache.h"
#include "agent/cli/check.h"
#include "agent/cli/convert.h"
#include "agent/cli/doctor.h"
#include "agent/cli/drain.h"
#include "agent/cli/options.h"
#include "agent/cli/status.h"
#include "agent/config/kube_dns.h"
#include "agent/config/memory.h"
#include "agent/confinement.h"
#include "agent/io/cgroup.h"
#include "agent/service_lookup.h"
#include "agent/supervised.h"
#include "agent/supervisor/privileges.h"
#include "agent/version.h"

namespace {

using namespace lastlight;

const char* environment(const char* name) {
  return std::getenv(name);
}

std::expected<std::vector<IpAddress>, std::string> ask_service(const Config& config, const std::string& service) {
  const std::string api_server = api_server_url(config.kubernetes, environment);
  if (api_server.empty()) return std::unexpected("no API server is known (KUBERNETES_SERVICE_HOST, --api-server)");
  return look_up_service(api_server, config.kubernetes, service);
}

// Thousands of pods' connections may be open, and many systems start programs with a soft limit of 1024.
void raise_descriptor_limit() {
  constexpr rlim_t kEnough = 65536;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= kEnough) return;
  limit.rlim_cur = std::min(limit.rlim_max, kEnough);
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Rather a smaller cache than to be killed for a large one.
void fit_into_memory(Config& config) {
  const MemoryPlan plan = plan_memory(config, io::memory_limit());
  for (const std::string& line : describe(plan)) {
    if (plan.share < 1) log::warn("memory.cut", {{"text", line}});
  }
  apply(plan, config);
}

int run(const cli::Command& command, io::FileDescriptor supervisor) {
  auto config = cli::read_config(command, environment);
  if (!config) {
    for (const ConfigError& error : config.error())
      std::cerr << error.to_string() << '\n';
    std::cerr << "lastlight: nothing was started; `lastlight check --config " << command.config << "` explains\n";
    return 1;
  }
  log::configure(config->log);
  raise_descriptor_limit();
  if (supervisor) {
    if (const auto confined = confine(); !confined) log::warn("agent.not_confined", {{"error", confined.error()}});
  }
  log::info("agent.starting", {{"version", kVersion}, {"node", config->node_name}});
  // A ConfigMap that is wrong at the start is no reason to leave the node without DNS.
  auto with_map = with_kube_dns(*config);
  if (with_map) {
    config = std::move(with_map);
  } else {
    for (const ConfigError& error : with_map.error())
      log::error("config.error", {{"error", error.to_string()}});
  }
  const auto load = [command]() -> ConfigResult {
    auto next = cli::read_config(command, environment);
    if (next) next = with_kube_dns(std::move(*next));
    if (next) fit_into_memory(*next);
    return next;
  };
  fit_into_memory(*config);
  return App(std::move(*config), command.config, load, std::move(supervisor)).run();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    io::FileDescriptor supervisor = supervisor_channel();
    if (supervisor) drop_privileges();
    const auto command = cli::parse_command(argc, argv);
    if (!command) {
      (command.error().exit_code == 0 ? std::cout : std::cerr) << command.error().text;
      return command.error().exit_code;
    }
    switch (command->name) {
      case cli::Command::Name::Run:
        return run(*command, std::move(supervisor));
      case cli::Command::Name::Check:
        return cli::check(*command, environment, ask_service, io::memory_limit(), std::cout, std::cerr);
      case cli::Command::Name::Status:
        return cli::status(*command, std::cout, std::cerr);
      case cli::Command::Name::Convert:
        return cli::convert(*command, std::cout, std::cerr);
      case cli::Command::Name::Cache:
        return cli::cache(command->cache, std::cout, std::cerr);
      case cli::Command::Name::Drain:
        return cli::drain(*command, environment, std::cout, std::cerr);
      case cli::Command::Name::Doctor:
        return cli::doctor(command->doctor, std::cout, std::cerr);
      case cli::Command::Name::Version:
        if (command->output == cli::Output::Json) {
          std::cout << "{\"version\":\"" << kVersion << "\"}\n";
        } else {
          std::cout << "lastlight " << kVersion << '\n';
        }
        return 0;
    }
  } catch (const std::exception& error) {
    std::cerr << "lastlight: " << error.what() << '\n';
    return 1;
  }
  return 1;
}
