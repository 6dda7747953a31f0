#include "agent/cli/convert.h"

#include <fstream>
#include <iterator>
#include <optional>
#include <ostream>
#include <utility>

#include "agent/cli/check_json.h"
#include "agent/cli/config_json.h"
#include "agent/config/kube_dns.h"
#include "agent/convert/node_local.h"
#include "agent/convert/termination_handler.h"

namespace lastlight::cli {
namespace {

constexpr const char* kMountedKubeDns = "/etc/kube-dns";  // by manifests/components/kube-dns-config

struct Source {
  std::string file;
  convert::Remarks remarks;
};

using Problems = std::vector<ConfigError>;

std::optional<std::string> text_of(const std::string& path, Problems& problems) {
  auto text = read_config_text(path);
  if (text && text->size() <= kMaxConfigFile) return std::move(*text);
  problems.push_back({path, 0, "", text ? "is longer than a ConfigMap can be" : text.error()});
  return std::nullopt;
}

bool add_corefile(const std::string& path, Config& config, std::vector<Source>& sources, Problems& problems) {
  const auto text = text_of(path, problems);
  if (!text) return false;
  const auto blocks = convert::parse_corefile(*text);
  if (!blocks) {
    problems.push_back({path, blocks.error().line, "", blocks.error().message});
    return false;
  }
  Source& source = sources.emplace_back(Source{path, {}});
  convert::add_node_local(config, *blocks, source.remarks);
  return true;
}

// It stays where it is and is followed, so what stands in it is only checked.
bool add_kube_dns(const std::string& directory, Config& config, std::vector<Source>& sources, Problems& problems) {
  Config with = config;
  with.node_name = "node";  // by the downward API, as in convert()
  with.dns.kube_dns_config = directory;
  if (with.dns.zones.empty()) with.dns.zones = default_zones(with.dns.cluster_domain);
  if (auto read = with_kube_dns(with); !read) {
    problems = std::move(read.error());
    return false;
  }
  config.dns.kube_dns_config = kMountedKubeDns;
  Source& source = sources.emplace_back(Source{directory, {}});
  source.remarks.push_back(
      {0, "kube-dns", "is followed at " + std::string(kMountedKubeDns) + "; components/kube-dns-config mounts it there",
       false});
  if (std::ifstream(directory + "/federations"))
    source.remarks.push_back({0, "federations", "were removed from Kubernetes", true});
  return true;
}

void print_remarks(const std::vector<Source>& sources, bool lost, const char* heading, std::ostream& out) {
  for (const Source& source : sources) {
    for (const convert::Remark& remark : source.remarks) {
      if (remark.lost != lost) continue;
      if (heading) out << "# " << std::exchange(heading, nullptr) << "\n";
      out << "#   " << source.file;
      if (remark.line > 0) out << ":" << remark.line;
      out << ": " << remark.what << ": " << remark.why << "\n";
    }
  }
}

Json remarks_json(const std::vector<Source>& sources, bool lost) {
  Json out = Json::array();
  for (const Source& source : sources) {
    for (const convert::Remark& remark : source.remarks) {
      if (remark.lost != lost) continue;
      out.push_back({{"file", source.file}, {"line", remark.line}, {"what", remark.what}, {"why", remark.why}});
    }
  }
  return out;
}

bool add_sources(const Command& command, Config& config, std::vector<Source>& sources, Problems& problems) {
  const bool dns = !command.corefile.empty() || !command.kube_dns_configmap.empty();
  if (!command.corefile.empty() && !add_corefile(command.corefile, config, sources, problems)) return false;
  if (!command.nth_env.empty()) {
    const auto text = text_of(command.nth_env, problems);
    if (!text) return false;
    Source& source = sources.emplace_back(Source{command.nth_env, {}});
    convert::add_termination_handler(config, *text, source.remarks);
    if (!dns) config.dns.listen.clear();
  } else {
    config.interruption.source = InterruptionConfig::Source::None;
  }
  if (!command.kube_dns_configmap.empty() && !add_kube_dns(command.kube_dns_configmap, config, sources, problems))
    return false;
  if (config.dns.zones.empty()) config.dns.zones = default_zones(config.dns.cluster_domain);
  return true;
}

}  // namespace

int convert(const Command& command, std::ostream& out, std::ostream& errors) {
  Config config;
  std::vector<Source> sources;
  Problems problems;
  const bool read = add_sources(command, config, sources, problems);
  const std::string yaml = read ? changed_yaml(config) : "";
  if (read) {
    const ConfigOverride node{"node-name", "environment", "NODE_NAME", "node"};  // by the downward API
    auto checked = parse_config(yaml, "the converted configuration", std::span(&node, 1));
    if (!checked) problems = std::move(checked.error());
  }
  if (command.output == Output::Json) {
    out << dump_json({{"valid", problems.empty()},
                      {"problems", problems_of(problems)},
                      {"config", read ? changed_json(config) : Json::object()},
                      {"notCarriedOver", remarks_json(sources, true)},
                      {"toKnow", remarks_json(sources, false)}})
        << "\n";
  } else if (read) {
    print_remarks(sources, true, "Not carried over:", problems.empty() ? out : errors);
    print_remarks(sources, false, "To know:", problems.empty() ? out : errors);
    out << yaml;
  }
  for (const ConfigError& problem : problems)
    errors << problem.to_string() << "\n";
  return problems.empty() ? 0 : 1;
}

}  // namespace lastlight::cli
