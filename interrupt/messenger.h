// The shell of interrupt/hooks: POSTs to webhooks, has commands started (by the supervisor: the worker may not), and
// reports back what became of them. It has its own HTTP client, so that no webhook ever takes a connection from the
// drain, and acts in the loop's next turn, so that the drain's own calls of this turn are on their way before anything
// is told.
//
// A command's environment is PATH and LASTLIGHT_*: PHASE, NODE, KIND, ACTION, ID, SOURCE, SECONDS_LEFT; the event's
// JSON is on its standard input. At most one run of each command at a time.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/io/http_client.h"
#include "agent/io/timer.h"
#include "interrupt/hooks/hooks.h"
#include "interrupt/hooks/template.h"

namespace lastlight::interrupt {

struct CommandOrder {
  std::string file;  // in hooks.commands-directory
  std::vector<std::string> environment;
  std::string input;
  Duration timeout{};
};

class Messenger {
 public:
  struct Listener {
    std::move_only_function<PodCounts()> pods;                   // asked when there is something to tell
    std::move_only_function<void(std::optional<Instant>)> hold;  // evictions wait until then; none: they need not
    // By delivery. Nothing: on_command_end() follows; else why it could not be started.
    std::move_only_function<std::optional<std::string>(std::uint64_t delivery, const CommandOrder&)> start;
    std::move_only_function<void(const std::string& receiver, Phase phase, const std::string& error)> failed;
  };

  // `config.hooks` passed check_hooks().
  Messenger(io::Loop& loop, const Config& config, io::HttpClient::Resolve resolve, Listener listener);
  ~Messenger();

  void on_notice(const Notice& notice);
  void on_withdrawn(const Withdrawn& withdrawn);
  void on_fact(const Fact& fact);
  // `error`: empty, or what went wrong.
  void on_command_end(std::uint64_t delivery, const std::string& error);

  const Hooks& hooks() const { return hooks_; }

 private:
  void advance();
  void settle_hold();
  void post(const Delivery& delivery);
  void start(const Delivery& delivery);
  void report(const Delivery& delivery, Outbox::Outcome outcome, Duration at_least, const std::string& error);

  io::Loop& loop_;
  const Config& config_;
  Listener listener_;
  Hooks hooks_;
  std::vector<Template> bodies_;  // by webhook
  io::HttpClient client_;
  std::map<std::uint64_t, Delivery> commands_;  // that run
  std::optional<Instant> hold_;
  io::Timer timer_;
};

}  // namespace lastlight::interrupt
