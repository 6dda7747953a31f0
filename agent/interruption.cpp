#include "agent/interruption.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>
#include <vector>

#include <sys/wait.h>

#include "agent/base/log.h"
#include "agent/config/service_address.h"
#include "agent/telling.h"

namespace lastlight {

Interruption::Interruption(io::Loop& loop, const Config& config, const std::string& api_server,
                           io::HttpClient& metadata, io::HttpClient& api, Calls calls)
    : loop_(loop), config_(config), api_server_(api_server), metadata_(metadata), api_(api), calls_(std::move(calls)) {}

void Interruption::start() {
  if (config_.interruption.source == InterruptionConfig::Source::None) return;
  start_notice_endpoint();
  start_messenger();
  controller_ = std::make_unique<interrupt::Controller>(loop_, config_, api_server_, metadata_, api_, listener());
}

void Interruption::stop() {
  controller_.reset();
  commands_.clear();
  messenger_.reset();
  notice_endpoint_.reset();
}

interrupt::Listener Interruption::listener() {
  return {.noticed =
              [this](const interrupt::Notice& notice, Treatment treatment) {
                tell_notice(notice, treatment, config_.node_name, loop_.now());
                tell_nearest(notice.id);
              },
          .withdrawn =
              [this](const interrupt::Withdrawn& gone) {
                log::warn("interruption.withdrawn", {{"id", gone.id}, {"why", gone.why}});
                notice_endpoint_->on_withdrawn(gone);
                messenger_->on_withdrawn(gone);
                if (const auto& stands = controller_->notice()) tell_nearest(stands->id);
              },
          .fact =
              [this](const interrupt::Fact& fact) {
                log::info(event_name(fact.kind), {{"subject", fact.subject}, {"text", fact.text}});
                if (fact.kind == interrupt::Fact::Kind::Started) calls_.drain_started();
                messenger_->on_fact(fact);
              },
          .diagnosis = [](interrupt::Diagnosis what) { log::warn("metadata.diagnosis", {{"text", advice(what)}}); },
          .found =
              [](const interrupt::Found& found) {
                log::info("metadata.source", {{"source", found.source}, {"why", found.why}});
              },
          .checked =
              [](const std::vector<std::string>& missing) {
                if (missing.empty()) log::info("drain.permitted");
                for (const std::string& what : missing)
                  log::error("drain.not_permitted", {{"text", what}});
              }};
}

// Pods, webhooks and commands hear of one end, the nearest: another that is announced beside it is in the log.
void Interruption::tell_nearest(std::string_view id) {
  const auto& nearest = controller_->notice();
  if (!nearest || nearest->id != id) return;
  notice_endpoint_->on_notice(*nearest);
  messenger_->on_notice(*nearest);
}

// What pods are given by the kubelet is where they can ask without knowing their node; it is there once it is ours.
std::vector<AddressSpec> Interruption::notice_addresses() const {
  std::vector<AddressSpec> out = config_.hooks.listen;
  if (out.empty() || config_.takeover.mode == TakeoverConfig::Mode::None) return out;
  for (AddressSpec each : config_.takeover.link_local) {
    each.port = out.front().port;
    if (std::ranges::find(out, each) == out.end()) out.push_back(each);
  }
  return out;
}

void Interruption::start_notice_endpoint() {
  notice_endpoint_ = std::make_unique<interrupt::NoticeEndpoint>(loop_);
  for (const AddressSpec& spec : notice_addresses()) {
    const auto where = resolve_address(spec, config_.node_ip, [](const char* name) { return std::getenv(name); });
    if (!where) {
      log::warn("notice_endpoint.unresolved", {{"address", spec.to_string()}, {"error", where.error()}});
      continue;
    }
    notice_endpoint_->listen(*where, [](const Endpoint& listening, const std::string& error) {
      if (error.empty()) {
        log::info("notice_endpoint.listening", {{"address", listening.to_string()}});
      } else {
        log::warn("notice_endpoint.not_listening", {{"address", listening.to_string()}, {"error", error}});
      }
    });
  }
}

void Interruption::start_messenger() {
  messenger_ = std::make_unique<interrupt::Messenger>(
      loop_, config_, calls_.resolve,
      interrupt::Messenger::Listener{
          .pods =
              [this] {
                const interrupt::Drain* now = drain();
                return now != nullptr ? interrupt::count_pods(*now) : interrupt::PodCounts{};
              },
          .hold =
              [this](std::optional<Instant> until) {
                if (controller_) controller_->hold(until);
              },
          .start = [this](std::uint64_t delivery,
                          const interrupt::CommandOrder& order) { return start_command(delivery, order); },
          .failed =
              [](const std::string& receiver, interrupt::Phase phase, const std::string& error) {
                log::warn("hook.failed",
                          {{"receiver", receiver}, {"phase", interrupt::phase_name(phase)}, {"error", error}});
              }});
}

// Its words are those of agent/supervisor/commands.h.
std::optional<std::string> Interruption::start_command(std::uint64_t delivery, const interrupt::CommandOrder& order) {
  std::vector<std::string> words{order.file,
                                 std::to_string(std::chrono::ceil<std::chrono::milliseconds>(order.timeout).count())};
  words.insert(words.end(), order.environment.begin(), order.environment.end());
  if (auto why = calls_.run_command(++last_command_, words, order.input)) return why;
  commands_[last_command_] = delivery;
  return std::nullopt;
}

void Interruption::on_command_end(std::uint64_t number, int status, std::string_view error) {
  const auto ended = commands_.extract(number);
  if (!ended || !messenger_) return;
  std::string why(error);
  if (why.empty() && WIFSIGNALED(status)) why = "signal " + std::to_string(WTERMSIG(status));
  if (why.empty() && status != 0) why = "exit code " + std::to_string(WEXITSTATUS(status));
  messenger_->on_command_end(ended.mapped(), why);
}

}  // namespace lastlight
