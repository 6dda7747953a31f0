#include "interrupt/controller.h"

#include <algorithm>
#include <memory>

#include "agent/io/jitter.h"
#include "agent/io/small_file.h"

namespace lastlight::interrupt {

Controller::Controller(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& metadata,
                       io::HttpClient& api, Listener listener)
    : loop_(loop),
      config_(config),
      metadata_(metadata),
      api_(api),
      listener_(std::move(listener)),
      server_{.base_url = std::move(api_server), .token = {}},
      source_(config.interruption, io::jitter()),
      poll_timer_(loop, [this] { poll_source(); }),
      drain_timer_(loop, [this] { carry_out(drain_->tick(loop_.now())); }) {
  poll_timer_.start_in(Duration::zero());
}

Controller::~Controller() {
  metadata_.cancel(metadata_request_);
  for (const auto& [order, request] : in_flight_)
    api_.cancel(request);
}

void Controller::poll_source() {
  const Instant now = loop_.now();
  SourceStep step = source_.next(now);
  if (step.send) {
    metadata_request_ =
        metadata_.send(std::move(*step.send), [this, now](const HttpReply& reply) { on_source_reply(reply, now); });
  } else {
    poll_timer_.start_at(step.wake);
  }
}

void Controller::on_source_reply(const HttpReply& reply, Instant sent) {
  metadata_request_ = 0;
  const SourceResult result = source_.on_reply(reply, sent, loop_.now());
  if (const auto* notice = std::get_if<Notice>(&result)) on_notice(*notice);
  if (const auto* withdrawn = std::get_if<Withdrawn>(&result)) on_withdrawn(*withdrawn);
  if (source_.diagnosis() != diagnosis_) {
    diagnosis_ = source_.diagnosis();
    listener_.diagnosis(diagnosis_);
  }
  poll_source();
}

void Controller::on_notice(const Notice& notice) {
  notice_ = notice;
  if (!drain_) drain_ = std::make_unique<Drain>(config_.node_name, config_.drain, server_, io::jitter());
  read_token();
  carry_out(drain_->start({.notice = notice, .noticed = loop_.now(), .node = config_.node_name},
                          loop_.now()));  // the cordon leaves before anything is told
  listener_.noticed(notice);
}

void Controller::on_withdrawn(const Withdrawn& withdrawn) {
  notice_.reset();
  if (drain_) carry_out(drain_->withdraw(loop_.now()));
  listener_.withdrawn(withdrawn);
}

void Controller::hold(std::optional<Instant> until) {
  if (!drain_) return;
  drain_->hold(until);
  carry_out(drain_->tick(loop_.now()));
}

void Controller::carry_out(DrainStep step) {
  for (const std::uint64_t cancelled : step.cancel) {
    if (const auto found = in_flight_.find(cancelled); found != in_flight_.end()) {
      api_.cancel(found->second);
      in_flight_.erase(found);
    }
  }
  std::ranges::sort(step.orders, {}, [](const Order& order) { return std::pair(order.priority, order.id); });
  for (Order& order : step.orders)
    send(std::move(order));
  drain_timer_.start_at(step.wake);
  for (const Fact& fact : drain_->take_facts())
    listener_.fact(fact);
}

void Controller::send(Order order) {
  const std::uint64_t id = order.id;
  auto done = [this, id](const HttpReply& reply) {
    in_flight_.erase(id);
    read_token();
    carry_out(drain_->on_reply(id, reply, loop_.now()));
  };
  if (!streams(order.call)) {
    in_flight_[id] = api_.send(std::move(order.request), std::move(done));
    return;
  }
  // A refusal's body is not events: only a 2xx reply's bytes are handed on.
  auto streaming = std::make_unique<bool>(false);
  bool* const accepted = streaming.get();
  in_flight_[id] = api_.stream(
      std::move(order.request), [accepted](int status) { *accepted = status >= 200 && status < 300; },
      [this, id, accepted = std::move(streaming)](std::string_view bytes) {
        if (*accepted) carry_out(drain_->on_watch_bytes(id, bytes, loop_.now()));
      },
      std::move(done));
}

void Controller::read_token() {
  // The last known token may still be good where the file cannot be read.
  if (std::string token = io::read_secret(config_.kubernetes.token_file); !token.empty())
    server_.token = std::move(token);
}

}  // namespace lastlight::interrupt
