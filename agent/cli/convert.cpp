#include "agent/cli/convert.h"

#include <fstream>
#include <iterator>
#include <optional>
#include <ostream>
#include <utility>

#include "agent/convert/node_local.h"
#include "agent/convert/termination_handler.h"
#include "agent/kube_dns.h"

namespace lastlight::cli {
namespace {

constexpr const char* kMountedKubeDns = "/etc/kube-dns";  // by manifests/components/kube-dns-config

struct Source {
  std::string file;
  convert::Remarks remarks;
};

std::optional<std::string> text_of(const std::string& path, std::ostream& errors) {
  auto text = read_config_text(path);
  if (text && text->size() <= kMaxConfigFile) return std::move(*text);
  errors << path << ": " << (text ? "is longer than a ConfigMap can be" : text.error()) << "\n";
  return std::nullopt;
}

bool add_corefile(const std::string& path, Config& config, std::vector<Source>& sources, std::ostream& errors) {
  const auto text = text_of(path, errors);
  if (!text) return false;
  const auto blocks = convert::parse_corefile(*text);
  if (!blocks) {
    errors << path << ":" << blocks.error().line << ": " << blocks.error().message << "\n";
    return false;
  }
  Source& source = sources.emplace_back(Source{path, {}});
  convert::add_node_local(config, *blocks, source.remarks);
  return true;
}

// It stays where it is and is followed, so what stands in it is only checked.
bool add_kube_dns(const std::string& directory, Config& config, std::vector<Source>& sources, std::ostream& errors) {
  Config with = config;
  with.dns.kube_dns_config = directory;
  if (with.dns.zones.empty()) with.dns.zones = default_zones(with.dns.cluster_domain);
  if (const auto read = with_kube_dns(with); !read) {
    for (const ConfigError& error : read.error())
      errors << error.to_string() << "\n";
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

}  // namespace

int convert(const Command& command, std::ostream& out, std::ostream& errors) {
  Config config;
  std::vector<Source> sources;
  const bool dns = !command.corefile.empty() || !command.kube_dns_configmap.empty();
  if (!command.corefile.empty() && !add_corefile(command.corefile, config, sources, errors)) return 1;
  if (!command.nth_env.empty()) {
    const auto text = text_of(command.nth_env, errors);
    if (!text) return 1;
    Source& source = sources.emplace_back(Source{command.nth_env, {}});
    convert::add_termination_handler(config, *text, source.remarks);
    if (!dns) config.dns.listen.clear();
  } else {
    config.interruption.source = InterruptionConfig::Source::None;
  }
  if (!command.kube_dns_configmap.empty() && !add_kube_dns(command.kube_dns_configmap, config, sources, errors))
    return 1;
  if (config.dns.zones.empty()) config.dns.zones = default_zones(config.dns.cluster_domain);

  const std::string yaml = changed_yaml(config);
  const ConfigOverride node{"node-name", "environment", "NODE_NAME", "node"};  // by the downward API
  const auto checked = parse_config(yaml, "the converted configuration", std::span(&node, 1));
  print_remarks(sources, true, "Not carried over:", checked ? out : errors);
  print_remarks(sources, false, "To know:", checked ? out : errors);
  out << yaml;
  if (checked) return 0;
  for (const ConfigError& error : checked.error())
    errors << error.to_string() << "\n";
  return 1;
}

}  // namespace lastlight::cli
