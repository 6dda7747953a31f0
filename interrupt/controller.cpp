#include "interrupt/controller.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "agent/io/jitter.h"
#include "agent/io/small_file.h"
#include "interrupt/sources/make.h"

namespace lastlight::interrupt {

Controller::Controller(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& metadata,
                       io::HttpClient& api, Listener listener)
    : loop_(loop),
      config_(config),
      api_(api),
      listener_(std::move(listener)),
      server_{.base_url = std::move(api_server), .token = {}},
      policy_(config.interruption.policy),
      policy_timer_(loop, [this] { follow_policy(); }),
      drain_timer_(loop, [this] { carry_out(drain_->tick(loop_.now())); }),
      sources_(
          loop, metadata, make_source(config.interruption, io::jitter()),
          [this](const SourceEvent& e) { on_source(e); }, [this](Diagnosis what) { listener_.diagnosis(what); }) {}

Controller::~Controller() {
  for (const auto& [order, request] : in_flight_)
    api_.cancel(request);
}

void Controller::on_source(const SourceEvent& event) {
  if (const auto* notice = std::get_if<Notice>(&event)) {
    const Treatment treatment = policy_.on_notice(*notice, loop_.now());
    follow_policy();  // the cordon leaves before anything is told
    listener_.noticed(*notice, treatment);
  } else if (const auto* withdrawn = std::get_if<Withdrawn>(&event)) {
    policy_.on_withdrawn(withdrawn->id);
    follow_policy();
    listener_.withdrawn(*withdrawn);
  } else {
    listener_.found(std::get<Found>(event));
  }
}

void Controller::follow_policy() {
  const Instant now = loop_.now();
  const Stance stance = policy_.decide(now);
  policy_timer_.start_at(stance.wake);
  notice_ = stance.nearest;
  if (!stance.drain) {
    if (!std::exchange(drained_for_, {}).empty()) carry_out(drain_->withdraw(now));
    return;
  }
  if (drained_for_ == stance.drain->id && drained_until_ == stance.drain->deadline) return;
  drained_for_ = stance.drain->id;
  drained_until_ = stance.drain->deadline;
  if (!drain_) drain_ = std::make_unique<Drain>(config_.node_name, config_.drain, server_, io::jitter());
  read_token();
  SavedDrain wanted;
  wanted.notice = *stance.drain;
  wanted.noticed = now;
  wanted.node = config_.node_name;
  carry_out(drain_->start(wanted, now));
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
  for (const Fact& fact : drain_->take_facts()) {
    if (fact.kind == Fact::Kind::Drained) sources_.may_start(drained_for_);
    listener_.fact(fact);
  }
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
