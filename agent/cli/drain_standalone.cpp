#include "agent/cli/drain_standalone.h"

#include <csignal>
#include <expected>
#include <iomanip>
#include <optional>
#include <ostream>
#include <utility>

#include "agent/cli/ask_agent.h"
#include "agent/io/http_once.h"
#include "agent/io/signal.h"
#include "agent/io/small_file.h"
#include "agent/kube/node.h"
#include "agent/kube/status.h"
#include "agent/telling.h"
#include "interrupt/drain_runner.h"
#include "interrupt/manual.h"
#include "interrupt/policy.h"

namespace lastlight::cli {

namespace {

using namespace interrupt;

constexpr unsigned kTries = 5;  // of a change that somebody else's came in between of

class NodeLock {
 public:
  NodeLock(const Config& config, const std::string& api_server)
      : config_(config),
        api_(config.kubernetes.ca_file),
        server_{.base_url = api_server, .token = io::read_secret(config.kubernetes.token_file)} {}

  // Why not, or nothing.
  std::optional<std::string> take(const Notice& notice, Instant now) {
    const SavedDrain mine{.notice = notice,
                          .noticed = now,
                          .node = config_.node_name,
                          .boot = DrainRunner::boot_id(),
                          .owner = std::string(DrainRunner::kStandalone)};
    for (unsigned i = 0; i < kTries; ++i) {
      const auto node = read();
      if (!node) return node.error();
      if (const auto other = read_saved_drain(node->annotation); other && holds(*other, now)) {
        return "the node is held by " + other->owner + " for " + other->notice.id + " until " + other->until +
               (other->owner == mine.owner
                    ? "; interrupt that drain, or once it is over `lastlight drain --cancel --standalone`"
                    : "; `lastlight drain --cancel` takes it back");
      }
      const HttpReply reply = api_.ask(kube::annotate_node(server_, *node, to_text(mine)));
      if (reply.ok()) return std::nullopt;
      if (reply.status != 409) return "the node cannot be marked: " + kube::describe(reply);
    }
    return "the node is changed by others all the time";
  }

  std::optional<std::string> clear(Instant now) {
    for (unsigned i = 0; i < kTries; ++i) {
      const auto node = read();
      if (!node) return node.error();
      if (const auto other = read_saved_drain(node->annotation);
          other && holds(*other, now) && other->owner != DrainRunner::kStandalone) {
        return "these are the marks of " + other->owner + ", whose drain goes on until " + other->until;
      }
      auto patch = kube::unmark_node(server_, *node, config_.drain.taint);
      if (!patch) return std::nullopt;
      const HttpReply reply = api_.ask(std::move(*patch));
      if (reply.ok()) return std::nullopt;
      if (reply.status != 422) return "the marks cannot be taken away: " + kube::describe(reply);
    }
    return "the node is changed by others all the time";
  }

 private:
  static bool holds(const SavedDrain& other, Instant now) {
    return other.boot == DrainRunner::boot_id() && now < other.notice.deadline;
  }

  std::expected<kube::Node, std::string> read() {
    const HttpReply reply = api_.ask(kube::get_node(server_, config_.node_name));
    const auto json = parse_json(reply.body);
    auto node = reply.ok() && json ? kube::read_node(*json) : std::nullopt;
    if (!node) return std::unexpected("the node " + config_.node_name + " cannot be read: " + kube::describe(reply));
    return std::move(*node);
  }

  const Config& config_;
  io::HttpConversation api_;
  const kube::Server server_;
};

class Standalone {
 public:
  Standalone(const Config& config, const std::string& api_server, std::ostream& out)
      : out_(out),
        api_(loop_, [](const std::string&, io::HttpClient::Resolved done) { done({}); },
             {.ca_file = config.kubernetes.ca_file, .max_connections = interrupt::Drain::connections(config.drain)}),
        runner_(
            loop_, config, api_server, api_, [this](const Fact& fact) { on_fact(fact); },
            [this](const std::vector<std::string>& missing) {
              for (const std::string& what : missing)
                out_ << "not permitted: " << what << std::endl;
            },
            DrainRunner::kStandalone),
        interrupted_(loop_, SIGINT, [this] { take_back(); }),
        terminated_(loop_, SIGTERM, [this] { take_back(); }) {}

  // None: it was taken back.
  std::optional<DrainOutcome> run(const Notice& notice) {
    noticed_ = notice.heard;
    runner_.drain_for(notice);
    loop_.run();
    if (taken_back_) return std::nullopt;
    return runner_.drain()->outcome();
  }

 private:
  void on_fact(const Fact& fact) {
    out_ << std::fixed << std::setprecision(1) << std::setw(7) << seconds(fact.at - noticed_) << " s  "
         << event_name(fact.kind) << ' ' << fact.subject << (fact.text.empty() ? "" : ": ") << fact.text << std::endl;
    const bool over = taken_back_ ? fact.kind == Fact::Kind::Unmarked
                                  : fact.kind == Fact::Kind::Drained || fact.kind == Fact::Kind::Ended;
    if (over) loop_.stop();
  }

  void take_back() {
    if (std::exchange(taken_back_, true)) return loop_.stop();  // the second time: at once
    runner_.withdraw();
  }

  std::ostream& out_;
  Instant noticed_{};
  bool taken_back_ = false;
  io::Loop loop_;
  io::HttpClient api_;
  DrainRunner runner_;
  io::Signal interrupted_;
  io::Signal terminated_;
};

// Why the policy would not have the node drained now, or nothing.
std::optional<std::string> not_drained_for(const Notice& notice, const PolicyConfig& config, Instant now) {
  const Treatment treatment = Policy(config).on_notice(notice, now);
  if (treatment == Treatment::Drain || (treatment == Treatment::DrainAt && notice.deadline - config.lead <= now)) {
    return std::nullopt;
  }
  return "interruption.policy does not have the node drained for this now, but says " +
         std::string(treatment_name(treatment));
}

int fail(std::ostream& errors, const std::string& why) {
  errors << "lastlight: " << why << '\n';
  return 1;
}

}  // namespace

int drain_standalone(const DrainCommand& command, const Config& given, const std::string& api_server, std::ostream& out,
                     std::ostream& errors) {
  if (ask_agent("GET", "/status")) return fail(errors, "an agent runs here: leave --standalone out, and it will do it");
  Config config = given;
  config.drain.state_file.clear();  // an agent that comes must not take it for its own
  NodeLock lock(config, api_server);
  const Instant now = io::Loop::read_clock();
  if (command.mode == DrainCommand::Mode::Cancel) {
    if (const auto why = lock.clear(now)) return fail(errors, *why);
    out << "the node has no marks of ours any more\n";
    return 0;
  }
  const Notice notice = manual_notice(command.kind, command.in, now, io::Loop::read_wall_clock());
  if (const auto why = not_drained_for(notice, config.interruption.policy, now)) return fail(errors, *why);
  if (const auto why = lock.take(notice, now)) return fail(errors, *why);
  const auto outcome = Standalone(config, api_server, out).run(notice);
  if (!outcome) return fail(errors, "taken back");
  if (!outcome->listed) return fail(errors, "the pods were never listed");
  if (outcome->never_told > 0) return fail(errors, std::to_string(outcome->never_told) + " pods were never told");
  out << "every pod was told; the node stays marked until `lastlight drain --cancel --standalone`\n";
  return 0;
}

}  // namespace lastlight::cli
