#include "agent/cli/check.h"

#include <ostream>

#include "agent/config_rules.h"
#include "agent/service_address.h"

namespace lastlight::cli {
namespace {

struct Use {
  std::string key;
  const AddressSpec* spec;
  std::expected<Endpoint, std::string> meaning;
};

std::vector<Use> uses_of(const std::string& key, const std::vector<AddressSpec>& specs, const Config& config,
                         const Environment& environment) {
  std::vector<Use> out;
  for (const AddressSpec& spec : specs)
    out.push_back({key, &spec, resolve_address(spec, config.node_ip, environment)});
  return out;
}

// As comments, so that what is printed remains a configuration file.
void print_meanings(const std::vector<Use>& uses, std::ostream& out) {
  for (const Use& use : uses) {
    if (use.spec->kind == AddressSpec::Kind::Literal) continue;
    out << "# " << use.key << ": " << use.spec->to_string() << " is "
        << (use.meaning ? use.meaning->to_string() : "unresolved: " + use.meaning.error()) << "\n";
  }
}

}  // namespace

ConfigResult read_config(const Command& command, const Environment& environment) {
  std::vector<ConfigOverride> overrides = environment_overrides(environment);
  overrides.insert(overrides.end(), command.overrides.begin(), command.overrides.end());
  return load_config(command.config, overrides);
}

int check(const Command& command, const Environment& environment, std::ostream& out, std::ostream& errors) {
  const ConfigResult config = read_config(command, environment);
  if (!config) {
    for (const ConfigError& error : config.error())
      errors << error.to_string() << "\n";
    return 1;
  }
  out << effective_yaml(*config, command.comments ? Comments::Yes : Comments::No);
  const std::vector<Use> listens = uses_of("dns.listen", config->dns.listen, *config, environment);
  print_meanings(listens, out);
  int code = 0;
  for (const ZoneConfig& zone : config->dns.zones) {
    const std::vector<Use> upstreams = uses_of("zone " + zone.name, zone.upstreams, *config, environment);
    print_meanings(upstreams, out);
    // Two names may be one address; parsing could not know.
    for (const Use& upstream : upstreams) {
      for (const Use& listen : listens) {
        if (!upstream.meaning || !listen.meaning) continue;
        if (!reaches_listener(*upstream.meaning, *listen.meaning, config->node_ip)) continue;
        errors << command.config << ": " << upstream.key << ": " << upstream.spec->to_string() << " is "
               << upstream.meaning->to_string() << ", where we listen (dns.listen: " << listen.spec->to_string()
               << "): queries would come back to us\n";
        code = 1;
      }
    }
  }
  return code;
}

}  // namespace lastlight::cli
