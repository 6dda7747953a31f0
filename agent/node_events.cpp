#include "agent/node_events.h"

#include <utility>

#include "agent/base/log.h"
#include "agent/io/small_file.h"
#include "interrupt/timestamp.h"

namespace lastlight {

NodeEvents::NodeEvents(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& api)
    : config_(config), api_server_(std::move(api_server)), api_(api), timer_(loop, [this] { send(); }) {}

NodeEvents::~NodeEvents() {
  api_.cancel(request_);
}

void NodeEvents::warn(const std::string& reason, const std::string& message) {
  if (config_.node_name.empty() || api_server_.empty() || waiting_.size() >= kMaxWaiting) return;
  const WallTime now = io::Loop::read_wall_clock();
  waiting_.push_back(
      {.node = config_.node_name,
       .pod = std::nullopt,
       .name = kube::event_name(config_.node_name, reason, std::to_string(now.time_since_epoch().count())),
       .type = "Warning",
       .reason = reason,
       .message = message,
       .time = interrupt::format_rfc3339(now)});
  if (waiting_.size() == 1) send();
}

void NodeEvents::send() {
  const kube::Server server{.base_url = api_server_, .token = io::read_secret(config_.kubernetes.token_file)};
  request_ =
      api_.send(kube::create_event(server, waiting_.front()), [this](const HttpReply& reply) { on_reply(reply); });
}

void NodeEvents::on_reply(const HttpReply& reply) {
  request_ = 0;
  if (!reply.ok() && ++tries_ < kTries) return timer_.start_in(kRetry);
  if (!reply.ok()) {
    log::warn("event.not_sent",
              {{"reason", waiting_.front().reason}, {"status", reply.status}, {"error", reply.error}});
  }
  tries_ = 0;
  waiting_.pop_front();
  if (!waiting_.empty()) send();
}

}  // namespace lastlight
