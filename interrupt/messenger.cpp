#include "interrupt/messenger.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <random>
#include <utility>

#include "agent/io/small_file.h"
#include "interrupt/hooks/proxy.h"

namespace lastlight::interrupt {
namespace {

constexpr std::uint32_t kMaxConnections = 16;
constexpr std::uint64_t kMaxReply = 64U << 10;  // read and dropped

std::vector<Receiver> receivers_of(const HooksConfig& hooks) {
  std::vector<Receiver> out;
  for (const WebhookConfig& webhook : hooks.webhooks)
    out.push_back({.name = webhook.name, .phases = webhook.phases, .hold = webhook.hold});
  for (const CommandConfig& command : hooks.commands)
    out.push_back({.name = command.file, .phases = command.phases, .hold = command.hold, .once = true});
  return out;
}

Uniform jitter() {
  return [generator = std::mt19937_64(std::random_device{}())]() mutable {
    return std::uniform_real_distribution<double>(0, 1)(generator);
  };
}

// The statuses that speak of this very message; every other failure may pass.
Outbox::Outcome outcome_of(const HttpReply& reply) {
  if (reply.ok()) return Outbox::Outcome::Delivered;
  const int status = reply.status;
  return status == 400 || status == 413 || status == 415 || status == 422 ? Outbox::Outcome::Refused
                                                                          : Outbox::Outcome::Failed;
}

Duration retry_after(const HttpReply& reply) {
  const std::string_view text = reply.header("Retry-After");
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = !text.empty() && error == std::errc() && end == text.data() + text.size();
  return whole ? std::chrono::seconds(std::min(value, 3600U)) : Duration::zero();
}

std::string sent_header(const HeaderConfig& header) {
  return header.value_file.empty() ? header.value : io::read_secret(header.value_file);
}

}  // namespace

Messenger::Messenger(io::Loop& loop, const Config& config, io::HttpClient::Resolve resolve, Listener listener)
    : loop_(loop),
      config_(config),
      listener_(std::move(listener)),
      hooks_(receivers_of(config.hooks), config.hooks.progress_interval, config.drain.margin, jitter()),
      client_(loop, std::move(resolve), {.ca_file = config.hooks.ca_file, .max_connections = kMaxConnections}),
      timer_(loop, [this] { advance(); }) {
  const Json sample = event_json(sample_event(Phase::Notice), config.node_name, Instant(), WallTime());
  for (const WebhookConfig& webhook : config.hooks.webhooks)
    bodies_.push_back(Template::parse(webhook.body, sample).value_or(Template()));
}

Messenger::~Messenger() = default;

void Messenger::on_notice(const Notice& notice) {
  hooks_.on_notice(notice, loop_.now());
  settle_hold();  // before the first eviction, which needs a reply of the API server first
  timer_.start_in(Duration::zero());
}

void Messenger::on_withdrawn(const Withdrawn& withdrawn) {
  hooks_.on_withdrawn(withdrawn, loop_.now());
  timer_.start_in(Duration::zero());
}

void Messenger::on_fact(const Fact& fact) {
  hooks_.on_fact(fact, loop_.now());
  timer_.start_in(Duration::zero());
}

void Messenger::advance() {
  HooksStep step = hooks_.advance(listener_.pods(), loop_.now());
  timer_.start_at(step.wake);
  for (const Delivery& delivery : step.deliveries) {
    if (delivery.receiver < bodies_.size()) {
      post(delivery);
    } else {
      start(delivery);
    }
  }
  settle_hold();
}

void Messenger::settle_hold() {
  const auto hold = hooks_.hold(loop_.now());
  if (hold == hold_) return;
  hold_ = hold;
  listener_.hold(hold);
}

void Messenger::post(const Delivery& delivery) {
  const WebhookConfig& webhook = config_.hooks.webhooks[delivery.receiver];
  HttpRequest request;
  request.method = "POST";
  request.url = webhook.url_file.empty() ? webhook.url : io::read_secret(webhook.url_file);
  request.proxy = proxy_for(request.url, [](const char* name) -> const char* { return std::getenv(name); });
  request.timeout = webhook.timeout;
  request.connect_timeout = std::min(request.connect_timeout, request.timeout);
  request.max_body = kMaxReply;
  for (const HeaderConfig& header : webhook.headers)
    request.headers.push_back({header.name, sent_header(header)});
  HttpReply given;
  given.headers = request.headers;
  if (given.header("Content-Type").empty()) request.headers.push_back({"Content-Type", "application/json"});
  request.body = bodies_[delivery.receiver].render(
      event_json(delivery.event, config_.node_name, loop_.now(), io::Loop::read_wall_clock()));
  if (request.url.empty()) request.url = "http:///";  // fails, and is tried again: the file may come
  client_.send(std::move(request), [this, delivery](const HttpReply& reply) {
    const std::string error = reply.status == 0 ? reply.error : "HTTP " + std::to_string(reply.status);
    report(delivery, outcome_of(reply), retry_after(reply), error);
  });
}

void Messenger::start(const Delivery& delivery) {
  const CommandConfig& command = config_.hooks.commands[delivery.receiver - bodies_.size()];
  const HookEvent& event = delivery.event;
  const Json json = event_json(event, config_.node_name, loop_.now(), io::Loop::read_wall_clock());
  const CommandOrder order{
      .file = command.file,
      .environment = {"LASTLIGHT_PHASE=" + std::string(phase_name(event.phase)), "LASTLIGHT_NODE=" + config_.node_name,
                      "LASTLIGHT_KIND=" + std::string(kind_name(event.notice.kind)),
                      "LASTLIGHT_ACTION=" + std::string(action_name(event.notice.action)),
                      "LASTLIGHT_ID=" + event.notice.id, "LASTLIGHT_SOURCE=" + event.notice.source,
                      "LASTLIGHT_SECONDS_LEFT=" + dump_json(*find(json, "secondsLeft"))},
      .input = dump_json(json) + "\n",
      .timeout = command.timeout};
  commands_.emplace(delivery.id, delivery);
  if (const auto why = listener_.start(delivery.id, order)) on_command_end(delivery.id, *why);
}

void Messenger::on_command_end(std::uint64_t delivery, const std::string& error) {
  const auto ended = commands_.extract(delivery);
  if (!ended) return;
  report(ended.mapped(), error.empty() ? Outbox::Outcome::Delivered : Outbox::Outcome::Failed, Duration::zero(), error);
}

void Messenger::report(const Delivery& delivery, Outbox::Outcome outcome, Duration at_least, const std::string& error) {
  if (outcome != Outbox::Outcome::Delivered) {
    listener_.failed(hooks_.receivers()[delivery.receiver].name, delivery.event.phase, error);
  }
  hooks_.on_result(delivery.id, outcome, at_least, loop_.now());
  timer_.start_in(Duration::zero());
}

}  // namespace lastlight::interrupt
