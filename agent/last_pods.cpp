#include "agent/last_pods.h"

#include <iterator>
#include <utility>

#include "agent/base/json.h"
#include "agent/base/log.h"
#include "agent/io/small_file.h"
#include "agent/kube/node.h"
#include "agent/kube/watch.h"
#include "agent/pods_left.h"
#include "interrupt/timestamp.h"

namespace lastlight {

LastPods::LastPods(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& api,
                   std::move_only_function<void()> changed)
    : config_(config),
      api_server_(std::move(api_server)),
      api_(api),
      changed_(std::move(changed)),
      timer_(loop, [this] { draining_ ? ask_page() : ask_node(); }) {}

LastPods::~LastPods() {
  api_.cancel(request_);
}

void LastPods::ask(bool draining) {
  if (config_.leave_last == Duration::zero() || config_.node_name.empty() || api_server_.empty()) return;
  pods_ = Leaving::Pods::Unknown;
  draining_ = draining;
  draining_ ? ask_page() : ask_node();
}

kube::Server LastPods::server() const {
  return {.base_url = api_server_, .token = io::read_secret(config_.kubernetes.token_file)};
}

void LastPods::ask_node() {
  HttpRequest request = kube::get_node(server(), config_.node_name);
  request.timeout = kTimeout;
  request_ = api_.send(std::move(request), [this](const HttpReply& reply) { on_node(reply); });
}

void LastPods::on_node(const HttpReply& reply) {
  request_ = 0;
  const auto json =
      reply.ok() ? parse_json(reply.body) : std::expected<Json, std::string>(std::unexpected(reply.error));
  const auto node = json ? kube::read_node(*json) : std::nullopt;
  if (!node) {
    log::warn("leaving.node_unknown", {{"status", reply.status}, {"error", reply.error}});
    timer_.start_in(kPeriod);
    return;
  }
  draining_ = is_draining(*node);
  if (!draining_) return set(Leaving::Pods::None);
  ask_page();
}

void LastPods::ask_page() {
  HttpRequest request = kube::list_pods(server(), config_.node_name, kPageSize, continue_);
  request.timeout = kTimeout;
  request_ = api_.send(std::move(request), [this](const HttpReply& reply) { on_page(reply); });
}

// A failed list changes nothing: pods that were left are left until we are told otherwise.
void LastPods::on_page(const HttpReply& reply) {
  request_ = 0;
  auto page = reply.ok() ? kube::read_pod_page(reply.body)
                         : std::expected<kube::PodPage, std::string>(std::unexpected(reply.error));
  timer_.start_in(kPeriod);
  if (!page) {
    log::warn("leaving.pods_unknown", {{"status", reply.status}, {"error", page.error()}});
    seen_.clear();
    continue_.clear();
    return;
  }
  seen_.insert(seen_.end(), std::make_move_iterator(page->pods.begin()), std::make_move_iterator(page->pods.end()));
  continue_ = seen_.size() < kMaxPods ? page->continue_token : std::string();
  if (!continue_.empty()) return ask_page();
  left_ = pods_left(std::exchange(seen_, {}), interrupt::parse_http_date(reply.header("Date")));
  log::info("leaving.pods_left", {{"pods", left_}});
  set(left_ > 0 ? Leaving::Pods::Some : Leaving::Pods::None);
}

void LastPods::set(Leaving::Pods pods) {
  if (std::exchange(pods_, pods) != pods) changed_();
}

}  // namespace lastlight
