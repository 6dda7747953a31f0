// The keys of `interruption`: whose notices are watched, and what is done about each.
#include <algorithm>
#include <string>
#include <utility>

#include "agent/config/key_kinds.h"
#include "agent/config/keys.h"

namespace lastlight {
namespace {

using namespace key_kinds;

bool is_origin_or_empty(std::string_view given) {
  return given.empty() || is_origin(given);
}

bool is_code(std::string_view given) {
  return !given.empty() && given.size() <= 64 && std::ranges::all_of(given, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-_:").find(c) != std::string_view::npos;
  });
}

Key treatment(std::string name, Treatment& value, std::string purpose) {
  return choice<Treatment>(std::move(name), value,
                           {{"ignore", Treatment::Ignore},
                            {"event", Treatment::Event},
                            {"taint", Treatment::Taint},
                            {"cordon", Treatment::Cordon},
                            {"drain", Treatment::Drain},
                            {"drain-at", Treatment::DrainAt}},
                           std::move(purpose));
}

Key codes(std::vector<CodePolicy>& value) {
  Key key = scalar("codes", "a list of mappings with code and treatment",
                   "By the cloud's own word, such as instance-retirement; these win over the kinds.");
  key.shape = Key::Shape::Items;
  const auto describe = [](CodePolicy& each) {
    Key code = text("code", each.code, "a word of letters, digits, - _ and :", is_code, "As the cloud spells it.");
    code.required = true;
    return std::vector<Key>{std::move(code), treatment("treatment", each.treatment, "What is done.")};
  };
  key.clear = [&value] { value.clear(); };
  key.append = [&value, describe] { return describe(value.emplace_back()); };
  key.items = [&value, describe] {
    std::vector<std::vector<Key>> out;
    for (CodePolicy& each : value)
      out.push_back(describe(each));
    return out;
  };
  return key;
}

std::vector<Key> policy_keys(PolicyConfig& p) {
  return {treatment("spot-terminate", p.spot_terminate, "AWS takes the instance back."),
          treatment("spot-stop", p.spot_stop, "AWS stops the spot instance."),
          treatment("spot-hibernate", p.spot_hibernate, "AWS hibernates it, without lead time."),
          treatment("preempt", p.preempt, "GCP and Azure take a spot machine back."),
          treatment("terminate", p.terminate, "Azure deletes the machine."),
          treatment("asg-terminate", p.asg_terminate, "The Auto Scaling group lets go of the instance."),
          treatment("reboot", p.reboot, "AWS and Azure reboot it."),
          treatment("redeploy", p.redeploy, "Azure moves it to another host; local disks are lost."),
          treatment("maintenance", p.maintenance, "AWS retires or stops it; GCP terminates it for host maintenance."),
          treatment("rebalance", p.rebalance, "AWS recommends leaving; advice, never withdrawn."),
          treatment("freeze", p.freeze, "Azure pauses it for seconds."),
          treatment("live-migration", p.live_migration, "GCP moves it while it runs."),
          codes(p.codes),
          duration("lead", p.lead, 10s, 24h, "drain-at: so long ahead of the time the notice names."),
          duration("assumed-window", p.assumed_window, 10s, 1h, "A drain's, when the notice names no time."),
          duration("mark-expiry", p.mark_expiry, 1min, 24h * 7,
                   "taint and cordon: they end so long after the time the notice names, or after the notice."),
          duration("rebalance-minimum-age", p.rebalance_minimum_age, 0s, 24h, "A younger node is only told of it."),
          duration("rebalance-period", p.rebalance_period, 1min, 24h, "At most one is acted upon in it.")};
}

}  // namespace

std::vector<Key> interruption_keys(InterruptionConfig& interruption) {
  using Source = InterruptionConfig::Source;
  return {
      choice<Source>("source", interruption.source,
                     {{"auto", Source::Auto},
                      {"aws", Source::Aws},
                      {"gcp", Source::Gcp},
                      {"azure", Source::Azure},
                      {"none", Source::None}},
                     "Whose notices are watched; auto asks each cloud's service which it is; none: DNS only."),
      text("metadata-url", interruption.metadata_url, "http://HOST[:PORT], or empty", is_origin_or_empty,
           "The instance metadata service; empty: the cloud's own address."),
      duration("poll", interruption.poll, 10ms, 1min, "How often AWS's spot notice and Azure's events are asked for."),
      duration("poll-slow", interruption.poll_slow, 5s, 30s,
               "AWS's rebalance recommendation, scheduled events and Auto Scaling state: each once in it."),
      duration("request-timeout", interruption.request_timeout, 10ms, 1min, "Of one request to the source."),
      duration("backoff-min", interruption.backoff_min, 10ms, 1min, "After the first failure; doubles, with jitter."),
      duration("backoff-max", interruption.backoff_max, 10ms, 1min, "The longest wait after failures."),
      duration("token-ttl", interruption.token_ttl, 1s, 6h, "Asked of IMDSv2; renewed at half of it."),
      flag("imds-v1", interruption.imds_v1, "Ask AWS without a token when none is to be had."),
      duration("gcp-hang", interruption.gcp_hang, 1s, 1min,
               "The longest wait of GCP's hanging GET; a dead connection goes unnoticed that long."),
      duration("gcp-preemption-window", interruption.gcp_preemption_window, 10s, 10min,
               "GCP names no time: 30s, or what --preemption-notice-duration was given."),
      duration("gcp-maintenance-window", interruption.gcp_maintenance_window, 10s, 2h,
               "Likewise of a termination for host maintenance; up to an hour for GPU hosts."),
      flag("azure-acknowledge", interruption.azure_acknowledge,
           "Let Azure begin once drained, when the event names no other machine."),
      section("policy", policy_keys(interruption.policy), "What is done about each kind of notice.")};
}

}  // namespace lastlight
