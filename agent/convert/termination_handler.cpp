#include "agent/convert/termination_handler.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "agent/base/json.h"
#include "agent/config/values.h"

namespace lastlight::convert {
namespace {

// Variables that change nothing here, and why; a name that ends with _ stands for all that begin so. `lost`: set to
// anything but `harmless` it did something.
struct Variable {
  std::string_view name;
  bool lost;
  std::string_view why;
  std::string_view harmless = "false";
};
constexpr std::array<Variable, 34> kOthers{{
    {"NODE_NAME", false, ""},  // the downward API gives them to us as well
    {"POD_NAME", false, ""},
    {"NAMESPACE", false, ""},
    {"KUBERNETES_", false, ""},
    {"DRY_RUN", true,
     "there is no such mode; the start-up check asks the API server whether a drain would be permitted"},
    {"METADATA_TRIES", false, "requests are repeated with back-off without end: interruption.backoff-min, backoff-max"},
    {"KUBE_API_", false, "requests are not slowed down; drain.max-in-flight bounds them"},
    {"IGNORE_DAEMON_SETS", true, "pods of DaemonSets always stay", "true"},
    {"DELETE_LOCAL_DATA", true,
     "pods with emptyDir volumes always leave; one that must stay to the end says so by lastlight.io/drain-order",
     "true"},
    {"POD_TERMINATION_GRACE_PERIOD", true, "each pod's own grace holds, cut to what is left of the notice", "-1"},
    {"GRACE_PERIOD", true, "each pod's own grace holds, cut to what is left of the notice", "-1"},
    {"NODE_TERMINATION_GRACE_PERIOD", true, "the notice's own deadline holds, less drain.margin", "120"},
    {"CORDON_ONLY", true,
     "a notice is ignored, told, or drains (interruption.policy); there is no cordon without a drain"},
    {"TAINT_EFFECT", true, "the taint's effect is NoSchedule", "NoSchedule"},
    {"ENABLE_OUT_OF_SERVICE_TAINT", true,
     "that taint is for nodes that are off; set on one that runs it detaches volumes in use"},
    {"EXCLUDE_FROM_LOAD_BALANCERS", false, "the node always leaves load balancers in a drain"},
    {"WEBHOOK_PROXY", true, "set HTTPS_PROXY or HTTP_PROXY in the agent's environment"},
    {"LOG_FORMAT_VERSION", false, "log lines are the agent's own"},
    {"UPTIME_FROM_FILE", false, "the node's boot is known by its boot ID"},
    {"ENABLE_PROMETHEUS_SERVER", false, "metrics are always on http.listen"},
    {"PROMETHEUS_SERVER_PORT", false, "metrics are on http.listen, port 9253; manifests/monitoring has the Service"},
    {"ENABLE_PROBES_SERVER", false, "probes run `lastlight status`"},
    {"PROBES_SERVER_", false, "probes run `lastlight status`"},
    {"EMIT_KUBERNETES_EVENTS", false, "events are always written"},
    {"KUBERNETES_EVENTS_EXTRA_ANNOTATIONS", true, "events carry no extra annotations"},
    {"WORKERS", false, "one node has one drain"},
    {"USE_APISERVER_CACHE", false, "the list of pods is always served from the cache, then watched"},
    {"ENABLE_SQS_TERMINATION_DRAINING", true,
     "no queue is read: what the node's metadata announces is heard; see \"EventBridge\" in OPERATIONS.md"},
    {"QUEUE_URL", true, "no queue is read"},
    {"AWS_", false, "no AWS API is asked"},
    {"CHECK_TAG_BEFORE_DRAINING", false, "no queue is read"},
    {"CHECK_ASG_TAG_BEFORE_DRAINING", false, "no queue is read"},
    {"MANAGED_", false, "no queue is read"},
    {"DELETE_SQS_MSG_IF_NODE_NOT_FOUND", false, "no queue is read"},
}};

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

class Handler {
 public:
  Handler(Config& config, Remarks& remarks) : config_(config), remarks_(remarks) {}

  void read(std::string_view text) {
    for (int line = 1; !text.empty(); ++line) {
      const auto end = std::min(text.find('\n'), text.size());
      std::string_view entry = trimmed(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
      if (entry.starts_with("export ")) entry = trimmed(entry.substr(7));
      if (entry.empty() || entry.front() == '#') continue;
      const auto equals = entry.find('=');
      if (equals == std::string_view::npos) {
        remarks_.push_back({line, std::string(entry), "is no KEY=VALUE", true});
        continue;
      }
      std::string_view value = trimmed(entry.substr(equals + 1));
      if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front())
        value = value.substr(1, value.size() - 2);
      if (!value.empty())
        given_.insert_or_assign(std::string(trimmed(entry.substr(0, equals))), Given{line, std::string(value)});
    }
  }

  void convert() {
    config_.interruption.source = InterruptionConfig::Source::Aws;
    treatments();
    taint();
    webhook();
    log();
    if (const auto url = take("INSTANCE_METADATA_URL"); url && url->value != "http://169.254.169.254") {
      if (is_origin(url->value)) {
        config_.interruption.metadata_url = url->value;
      } else {
        lose(*url, "INSTANCE_METADATA_URL", "is no http://HOST[:PORT]");
      }
    }
    for (const auto& [name, given] : given_)
      other(name, given);
  }

 private:
  struct Given {
    int line;
    std::string value;
  };

  std::optional<Given> take(const std::string& name) {
    const auto found = given_.find(name);
    if (found == given_.end()) return std::nullopt;
    Given out = std::move(found->second);
    given_.erase(found);
    return out;
  }
  void lose(const Given& given, std::string what, std::string why) {
    remarks_.push_back({given.line, std::move(what), std::move(why), true});
  }
  void note(const Given& given, std::string what, std::string why) {
    remarks_.push_back({given.line, std::move(what), std::move(why), false});
  }
  static bool yes(const std::optional<Given>& given) {
    return given && (given->value == "true" || given->value == "1" || given->value == "True");
  }
  static bool no(const std::optional<Given>& given) { return given && !yes(given); }

  void treatments() {
    PolicyConfig& policy = config_.interruption.policy;
    if (no(take("ENABLE_SPOT_INTERRUPTION_DRAINING")))
      policy.spot_terminate = policy.spot_stop = policy.spot_hibernate = Treatment::Event;
    const auto scheduled = take("ENABLE_SCHEDULED_EVENT_DRAINING");
    if (no(scheduled)) policy.reboot = policy.maintenance = Treatment::Event;
    if (yes(scheduled)) {
      note(*scheduled, "ENABLE_SCHEDULED_EVENT_DRAINING",
           "drains " + print_duration(policy.lead) +
               " ahead of the event (interruption.policy.lead), not when it is announced");
    }
    if (no(take("ENABLE_ASG_LIFECYCLE_DRAINING"))) policy.asg_terminate = Treatment::Event;
    const auto told = take("ENABLE_REBALANCE_MONITORING");
    const auto drains = take("ENABLE_REBALANCE_DRAINING");
    if (yes(drains)) {
      policy.rebalance = Treatment::Drain;
    } else if (yes(told)) {
      lose(*told, "ENABLE_REBALANCE_MONITORING",
           "a recommendation is told, and does not cordon; interruption.policy.rebalance: drain does both");
    }
  }

  void taint() {
    const auto given = take("TAINT_NODE");
    if (no(given)) config_.drain.taint.clear();
    if (yes(given)) note(*given, "TAINT_NODE", "one taint for every kind of notice: drain.taint");
  }

  void webhook() {
    const auto url = take("WEBHOOK_URL");
    const auto headers = take("WEBHOOK_HEADERS");
    const auto body = take("WEBHOOK_TEMPLATE");
    const auto file = take("WEBHOOK_TEMPLATE_FILE");
    if (!url) return;
    if (!is_url(url->value)) return lose(*url, "WEBHOOK_URL", "is no http:// or https:// URL");
    WebhookConfig hook;
    hook.name = "nth";
    hook.url = url->value;
    hook.phases = {HookPhase::Notice, HookPhase::Drained, HookPhase::Failed};
    hook.body = "{\"text\": \"{{ text }}\"}\n";
    note(*url, "WEBHOOK_URL",
         "is told at the notice and at the end, and again until it answers; hooks.webhooks[].phases");
    for (const auto& given : {body, file}) {
      if (given)
        lose(*given, "WEBHOOK_TEMPLATE",
             "the template is of another language; manifests/examples/hooks.yaml has the fields");
    }
    if (headers) add_headers(hook, *headers);
    config_.hooks.webhooks.push_back(std::move(hook));
  }

  void add_headers(WebhookConfig& hook, const Given& given) {
    const auto json = parse_json(given.value);
    if (!json || !json->is_object()) return lose(given, "WEBHOOK_HEADERS", "is no JSON object");
    for (const auto& [name, value] : object_or_empty(&*json)) {
      std::string lower = name;
      std::ranges::transform(lower, lower.begin(),
                             [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
      if (lower == "content-type") continue;  // application/json, as ours
      hook.headers.push_back({name, string_or_empty(&value), ""});
    }
    if (!hook.headers.empty())
      note(given, "WEBHOOK_HEADERS", "a secret among them is better kept in a file: value-file");
  }

  void log() {
    if (yes(take("JSON_LOGGING"))) config_.log.format = LogConfig::Format::JsonLines;
    const auto level = take("LOG_LEVEL");
    if (!level) return;
    if (level->value == "DEBUG" || level->value == "debug") config_.log.level = LogConfig::Level::Debug;
    if (level->value == "ERROR" || level->value == "error") config_.log.level = LogConfig::Level::Error;
  }

  void other(const std::string& name, const Given& given) {
    const auto known = std::ranges::find_if(kOthers, [&](const Variable& each) {
      return each.name.ends_with('_') ? name.starts_with(each.name) : name == each.name;
    });
    if (known == kOthers.end()) return note(given, name, "is not known here");
    if (known->why.empty() || (known->lost && given.value == known->harmless)) return;
    remarks_.push_back({given.line, name + "=" + given.value, std::string(known->why), known->lost});
  }

  Config& config_;
  Remarks& remarks_;
  std::map<std::string, Given> given_;
};

}  // namespace

void add_termination_handler(Config& config, std::string_view environment, Remarks& remarks) {
  Handler handler(config, remarks);
  handler.read(environment);
  handler.convert();
}

}  // namespace lastlight::convert
