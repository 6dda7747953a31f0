#include "interrupt/self_check.h"

#include <array>
#include <utility>

#include "agent/base/json.h"
#include "agent/kube/requests.h"
#include "agent/kube/status.h"

namespace lastlight::interrupt {
namespace {

// Step 0 is reading the node, step 1 the dry run, the rest are these.
constexpr std::array<kube::Access, 6> kNeeded{{{"watch", "nodes", "", ""},
                                               {"list", "pods", "", ""},
                                               {"watch", "pods", "", ""},
                                               {"create", "pods", "eviction", ""},
                                               {"delete", "pods", "", ""},
                                               {"create", "events", "", ""}}};
constexpr std::size_t kFirstReview = 2;
constexpr auto kRetryMin = std::chrono::seconds(1);
constexpr auto kRetryMax = std::chrono::seconds(60);

bool is_answer(const HttpReply& reply) {
  return reply.status != 0 && reply.status != 401 && reply.status != 408 && reply.status != 429 && reply.status < 500;
}

std::string name_of(const kube::Access& access) {
  return std::string(access.verb) + " " + std::string(access.resource) +
         (access.subresource.empty() ? "" : "/" + std::string(access.subresource));
}

}  // namespace

std::optional<HttpRequest> SelfCheck::next(const kube::Server& server, std::string_view node, Instant now) {
  if (now < wake()) return std::nullopt;
  in_flight_ = true;
  if (step_ == 0) return kube::get_node(server, node);
  if (step_ == 1) return kube::mark_node(server, node, "self-check", kube::Mark::Drain, true);
  return kube::review_access(server, kNeeded.at(step_ - kFirstReview));
}

std::optional<kube::Node> SelfCheck::on_reply(const HttpReply& reply, Instant now, double uniform) {
  in_flight_ = false;
  if (!is_answer(reply)) {
    at_ = now + backoff(kRetryMin, kRetryMax, ++failures_, uniform);
    return std::nullopt;
  }
  failures_ = 0;
  at_ = now;
  const std::size_t step = step_++;
  const auto json = parse_json(reply.body);
  std::optional<kube::Node> node;
  if (step == 0) {
    if (!reply.ok()) found_.push_back("get nodes: " + kube::describe(reply));
    if (reply.ok() && json) node = kube::read_node(*json);
  } else if (step == 1) {
    if (!reply.ok()) found_.push_back("patch nodes: " + kube::describe(reply));
  } else if (!reply.ok()) {
    found_.push_back(name_of(kNeeded.at(step - kFirstReview)) + ": " + kube::describe(reply));
  } else if (!json || !bool_at(*json, "status", "allowed")) {
    found_.push_back(name_of(kNeeded.at(step - kFirstReview)) + ": not permitted");
  }
  if (step_ == kFirstReview + kNeeded.size()) {
    step_ = 0;
    at_ = now + kEvery;
    finished_ = now;
    missing_ = std::exchange(found_, {});
  }
  return node;
}

}  // namespace lastlight::interrupt
