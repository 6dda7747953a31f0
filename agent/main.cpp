// Flags -> a command -> an exit code. Here, and in the reader of the configuration, exceptions end.
#include <cstdlib>
#include <exception>
#include <iostream>

#include "agent/app.h"
#include "agent/base/log.h"
#include "agent/cli/check.h"
#include "agent/cli/options.h"
#include "agent/cli/status.h"
#include "agent/version.h"

namespace {

using namespace lastlight;

const char* environment(const char* name) {
  return std::getenv(name);
}

int run(const cli::Command& command) {
  auto config = cli::read_config(command, environment);
  if (!config) {
    for (const ConfigError& error : config.error())
      std::cerr << error.to_string() << '\n';
    std::cerr << "lastlight: nothing was started; `lastlight check --config " << command.config << "` explains\n";
    return 1;
  }
  log::configure(config->log);
  log::info("agent.starting", {{"version", kVersion}, {"node", config->node_name}});
  return App(std::move(*config)).run();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto command = cli::parse_command(argc, argv);
    if (!command) {
      (command.error().exit_code == 0 ? std::cout : std::cerr) << command.error().text;
      return command.error().exit_code;
    }
    switch (command->name) {
      case cli::Command::Name::Run:
        return run(*command);
      case cli::Command::Name::Check:
        return cli::check(*command, environment, std::cout, std::cerr);
      case cli::Command::Name::Status:
        return cli::status(*command, std::cout, std::cerr);
      case cli::Command::Name::Version:
        std::cout << "lastlight " << kVersion << '\n';
        return 0;
    }
  } catch (const std::exception& error) {
    std::cerr << "lastlight: " << error.what() << '\n';
    return 1;
  }
  return 1;
}
