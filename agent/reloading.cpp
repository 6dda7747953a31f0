#include "agent/reloading.h"

#include <csignal>
#include <filesystem>
#include <system_error>
#include <utility>

#include "agent/base/log.h"

namespace lastlight {

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words)
    out += (out.empty() ? "" : " ") + word;
  return out;
}

}  // namespace

Reloading::Reloading(io::Loop& loop, const std::string& file, const Config& running, Load load, Apply apply)
    : running_(running), load_(std::move(load)), apply_(std::move(apply)), hangup_(loop, SIGHUP, [this] { reload(); }) {
  const auto follow = [&](std::string path) {
    watches_.push_back(std::make_unique<io::FileWatch>(loop, std::move(path), [this] { reload(); }));
  };
  std::error_code ignored;
  if (!file.empty()) follow(std::filesystem::is_directory(file, ignored) ? file + "/." : file);
  const std::string& kube_dns = running.dns.kube_dns_config;
  if (kube_dns.empty()) return;
  follow(kube_dns + "/stubDomains");
  follow(kube_dns + "/upstreamNameservers");
}

void Reloading::reload() {
  const ConfigResult loaded = load_();
  if (!loaded) {
    for (const ConfigError& error : loaded.error())
      log::error("config.error", {{"error", error.to_string()}});
    return reject("not valid");
  }
  const Reload plan = plan_reload(running_, *loaded);
  counters_.restart_needed = plan.restart.size();
  if (!plan.restart.empty()) log::warn("config.restart_needed", {{"keys", joined(plan.restart)}});
  if (!plan.changed.empty()) {
    if (const auto why = apply_(plan.config)) return reject(*why);
    log::info("config.reloaded", {{"changed", joined(plan.changed)}});
  }
  ++counters_.applied;
  counters_.last_rejected = false;
}

void Reloading::reject(const std::string& why) {
  ++counters_.rejected;
  counters_.last_rejected = true;
  log::error("config.rejected", {{"error", why}, {"in_force", "the configuration before"}});
}

}  // namespace lastlight
