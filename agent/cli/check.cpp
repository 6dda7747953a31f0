#include "agent/cli/check.h"

#include <map>
#include <ostream>

#include "agent/cli/check_json.h"
#include "agent/config/memory.h"
#include "agent/config/reference.h"
#include "agent/config/rules.h"
#include "agent/config/service_address.h"
#include "interrupt/hooks/check.h"

namespace lastlight::cli {
namespace {

// What run would make of each address, as far as it can be known here: the environment, then the API server, which is
// asked once per Service and overrules it, having every family.
class Meanings {
 public:
  Meanings(const Config& config, const Environment& environment, const AskService& ask_service)
      : config_(config), environment_(environment), ask_service_(ask_service) {}

  Meaning of(const AddressSpec& spec) {
    const auto known = resolve_address(spec, config_.node_ip, environment_);
    Meaning out;
    if (known) out.endpoints = {*known};
    if (spec.kind != AddressSpec::Kind::Service) {
      if (!known) out.remark = known.error();
      return out;
    }
    if (!answers_.contains(spec.service)) answers_.emplace(spec.service, ask_service_(config_, spec.service));
    const auto& answer = answers_.at(spec.service);
    const std::string variable = service_host_variable(spec.service);
    if (!answer) {
      out.remark = (known ? "by " + variable : known.error()) + "; " + answer.error();
      return out;
    }
    out.endpoints.clear();
    for (const IpAddress& address : *answer)
      out.endpoints.push_back({address, spec.port});
    out.remark = "by the API server";
    return out;
  }

 private:
  const Config& config_;
  const Environment& environment_;
  const AskService& ask_service_;
  std::map<std::string, std::expected<std::vector<IpAddress>, std::string>> answers_;
};

std::vector<Use> uses_of(const std::string& key, const std::vector<AddressSpec>& specs, Meanings& meanings) {
  std::vector<Use> out;
  for (const AddressSpec& spec : specs)
    out.push_back({key, &spec, meanings.of(spec)});
  return out;
}

// As comments, so that what is printed remains a configuration file.
void print_meanings(const std::vector<Use>& uses, std::ostream& out) {
  for (const Use& use : uses) {
    if (use.spec->kind == AddressSpec::Kind::Literal) continue;
    out << "# " << use.key << ": " << use.spec->to_string() << " is ";
    if (use.meaning.endpoints.empty()) {
      out << "unresolved: " << use.meaning.remark << "\n";
      continue;
    }
    const char* before = "";
    for (const Endpoint& endpoint : use.meaning.endpoints) {
      out << before << endpoint.to_string();
      before = " and ";
    }
    out << (use.meaning.remark.empty() ? "" : " (" + use.meaning.remark + ")") << "\n";
  }
}

// Two names may be one address; parsing could not know.
void find_loops(const Use& upstream, const Use& listen, const Config& config, std::vector<std::string>& problems) {
  for (const Endpoint& to : upstream.meaning.endpoints) {
    for (const Endpoint& at : listen.meaning.endpoints) {
      if (!reaches_listener(to, at, config.node_ip)) continue;
      problems.push_back(upstream.key + ": " + upstream.spec->to_string() + " is " + to.to_string() +
                         ", where we listen (dns.listen: " + listen.spec->to_string() +
                         "): queries would come back to us");
    }
  }
}

}  // namespace

ConfigResult read_config(const Command& command, const Environment& environment) {
  std::vector<ConfigOverride> overrides = environment_overrides(environment);
  overrides.insert(overrides.end(), command.overrides.begin(), command.overrides.end());
  return load_config(command.config, overrides, [](const Config& config, const ConfigProblem& problem) {
    interrupt::check_hooks(config.hooks, problem);
  });
}

int check(const Command& command, const Environment& environment, const AskService& ask_service,
          std::optional<Bytes> memory_limit, std::ostream& out, std::ostream& errors) {
  if (command.reference) {
    out << config_reference();
    return 0;
  }
  const bool json = command.output == Output::Json;
  const ConfigResult config = read_config(command, environment);
  if (!config) {
    if (json) out << problems_json(config.error()) << "\n";
    for (const ConfigError& error : config.error())
      errors << error.to_string() << "\n";
    return 1;
  }
  Meanings meanings(*config, environment, ask_service);
  std::vector<Use> uses = uses_of("dns.listen", config->dns.listen, meanings);
  const std::size_t listens = uses.size();
  std::vector<std::string> problems;
  for (const ZoneConfig& zone : config->dns.zones) {
    for (Use& upstream : uses_of("zone " + zone.name, zone.upstreams, meanings)) {
      for (std::size_t i = 0; i < listens; ++i)
        find_loops(upstream, uses[i], *config, problems);
      uses.push_back(std::move(upstream));
    }
  }
  const std::vector<std::string> memory = describe(plan_memory(*config, memory_limit));
  if (json) {
    out << checked_json(*config, uses, memory, problems) << "\n";
  } else {
    out << effective_yaml(*config, command.comments ? Comments::Yes : Comments::No);
    for (const std::string& line : memory)
      out << "# " << line << "\n";
    print_meanings(uses, out);
  }
  for (const std::string& problem : problems)
    errors << command.config << ": " << problem << "\n";
  return problems.empty() ? 0 : 1;
}

}  // namespace lastlight::cli
