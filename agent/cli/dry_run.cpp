#include "agent/cli/dry_run.h"

#include <algorithm>
#include <utility>

#include "agent/io/http_once.h"
#include "agent/io/small_file.h"
#include "agent/kube/budget.h"
#include "agent/kube/node.h"
#include "agent/kube/requests.h"
#include "agent/kube/status.h"
#include "interrupt/manual.h"
#include "interrupt/policy.h"
#include "interrupt/rehearsal.h"
#include "interrupt/self_check.h"

namespace lastlight::cli {

namespace {

using namespace interrupt;

constexpr unsigned kPageSize = 50;
constexpr std::size_t kMaxPods = 2048;  // as many as a drain looks after

struct Api {
  io::HttpConversation conversation;
  kube::Server server;
  HttpReply ask(HttpRequest request) { return conversation.ask(std::move(request)); }
};

std::expected<std::vector<kube::LabelledPod>, std::string> read_pods(Api& api, const std::string& node) {
  std::vector<kube::LabelledPod> pods;
  std::string token;
  do {
    const HttpReply reply = api.ask(kube::list_pods(api.server, node, kPageSize, token));
    if (!reply.ok()) return std::unexpected("the pods of " + node + " cannot be read: " + kube::describe(reply));
    auto page = kube::read_labelled_page(reply.body);
    if (!page) return std::unexpected("the pods of " + node + " cannot be read: " + page.error());
    for (kube::LabelledPod& pod : page->pods)
      pods.push_back(std::move(pod));
    token = page->continue_token;
  } while (!token.empty() && pods.size() < kMaxPods);
  return pods;
}

// Not ours to read unless manifests/components/simulate was applied.
std::expected<std::vector<kube::Budget>, std::string> read_budgets(Api& api) {
  const HttpReply reply = api.ask(kube::list_budgets(api.server));
  if (reply.status == 403) return std::unexpected("not permitted");
  if (!reply.ok()) return std::unexpected(kube::describe(reply));
  return kube::read_budgets(reply.body);
}

// The check that the agent makes each hour; its dry run of the cordon passes admission as the real one does.
std::vector<std::string> check_rights(Api& api, const std::string& node, Instant now) {
  SelfCheck check;
  do {
    auto request = check.next(api.server, node, now);
    if (!request) return {"the API server does not answer"};
    check.on_reply(api.ask(std::move(*request)), now, 0.5);
  } while (!check.took_turn() || !check.finished());
  return check.missing();
}

// The drain's second call on the node, which that check does not make. Nothing, where it is granted or not configured.
std::optional<std::string> try_taint(Api& api, const kube::Node& node, const std::string& key) {
  const bool there = std::ranges::find(node.taints, key, &kube::Taint::key) != node.taints.end();
  if (key.empty() || there) return std::nullopt;
  const kube::Taint taint{.key = key, .value = {}, .effect = "NoSchedule"};
  const HttpReply reply = api.ask(kube::add_taint(api.server, node.name, taint, node.has_taints, true));
  if (reply.ok()) return std::nullopt;
  return "patch nodes (the taint " + key + "): " + kube::describe(reply);
}

// A pod's way out, tried: by eviction, and by deletion where its budget refuses.
Json try_pod(Api& api, const Rehearsed& row) {
  const kube::PodRef pod{row.pod.namespace_name, row.pod.name, row.pod.uid};
  const HttpReply evicted = api.ask(kube::evict_pod(api.server, pod, row.grace.count(), true));
  if (evicted.ok()) return {{"granted", true}, {"text", "eviction granted"}};
  const bool budget = kube::read_status(evicted).disruption_budget;
  const HttpReply deleted = api.ask(kube::delete_pod(api.server, pod, row.grace.count(), true));
  const std::string first = budget ? "its budget refuses" : "eviction: " + kube::describe(evicted);
  if (deleted.ok()) return {{"granted", true}, {"text", first + "; deletion granted"}};
  return {{"granted", false}, {"text", first + "; deletion: " + kube::describe(deleted)}};
}

Json pod_json(Api& api, const Rehearsed& row, Instant noticed, bool drains) {
  Json out = {{"namespace", row.pod.namespace_name},
              {"name", row.pod.name},
              {"controller", row.pod.controller_kind},
              {"choice", choice_name(row.choice)}};
  if (row.choice != Choice::Evict || !drains) return out;
  out["tier"] = tier_name(row.tier);
  out["after_tier"] = row.after ? Json(tier_name(*row.after)) : Json();
  out["own_grace_seconds"] = row.pod.grace_seconds;
  out["grace_seconds"] = row.grace.count();
  out["evict_at_seconds"] = seconds(row.evict_at - noticed);
  out["delete_at_seconds"] = seconds(row.delete_at - noticed);
  out["budget"] = nullptr;
  if (row.budget)
    out["budget"] = {{"name", row.budget->name}, {"refuses", row.budget->refuses}, {"text", row.budget->text}};
  out["dry_run"] = try_pod(api, row);
  return out;
}

}  // namespace

std::expected<Json, std::string> dry_run(const DrainCommand& command, const Config& config,
                                         const std::string& api_server) {
  Api api{.conversation = io::HttpConversation(config.kubernetes.ca_file),
          .server = {.base_url = api_server, .token = io::read_secret(config.kubernetes.token_file)}};
  const Instant now = io::Loop::read_clock();
  const Notice notice = manual_notice(command.kind, command.in, now, io::Loop::read_wall_clock());
  Policy policy(config.interruption.policy);
  const Treatment treatment = policy.on_notice(notice, now);
  const bool drains = treatment == Treatment::Drain || treatment == Treatment::DrainAt;

  const HttpReply reply = api.ask(kube::get_node(api.server, config.node_name));
  if (!reply.ok()) return std::unexpected("the node " + config.node_name + " cannot be read: " + kube::describe(reply));
  const auto json = parse_json(reply.body);
  const auto node = json ? kube::read_node(*json) : std::nullopt;
  if (!node) return std::unexpected("the node " + config.node_name + " cannot be read: not a Node");
  auto pods = read_pods(api, config.node_name);
  if (!pods) return std::unexpected(pods.error());
  auto budgets = read_budgets(api);

  // Ahead of the time it names, where the policy says so.
  const Duration lead = config.interruption.policy.lead;
  const Instant begins = treatment == Treatment::DrainAt ? std::max(now, notice.deadline - lead) : now;
  const Window window{.noticed = begins, .deadline = notice.deadline};
  Json rows = Json::array();
  const std::string budgets_read = budgets ? "read" : budgets.error();
  for (const Rehearsed& row :
       rehearse(*pods, budgets ? std::optional(std::move(*budgets)) : std::nullopt, window, config.drain))
    rows.push_back(pod_json(api, row, now, drains));
  std::vector<std::string> missing = check_rights(api, config.node_name, now);
  if (auto taint = try_taint(api, *node, config.drain.taint)) missing.push_back(std::move(*taint));
  return Json{{"node", config.node_name},
              {"kind", kind_name(notice.kind)},
              {"action", action_name(notice.action)},
              {"in_seconds", seconds(command.in)},
              {"treatment", treatment_name(treatment)},
              {"cordoned", node->unschedulable},
              {"drained_by", node->annotation},
              {"missing", missing},
              {"budgets", budgets_read},
              {"pods", std::move(rows)}};
}

bool flawless(const Json& plan) {
  if (!array_at(plan, "missing").empty()) return false;
  return std::ranges::all_of(array_at(plan, "pods"), [](const Json& pod) {
    return find(pod, "dry_run") == nullptr || bool_at(pod, "dry_run", "granted");
  });
}

}  // namespace lastlight::cli
