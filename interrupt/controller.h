// The shell of the interruption half: a source that hears notices, a policy that says what is done about those that
// stand, and a drain: every decision is made by the cores it carries out. It reads the service account's token before
// each step of a drain, since the kubelet rotates it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "agent/config.h"
#include "agent/io/http_client.h"
#include "agent/io/timer.h"
#include "interrupt/drain.h"
#include "interrupt/notice.h"
#include "interrupt/policy.h"
#include "interrupt/source_runner.h"

namespace lastlight::interrupt {

// What the controller tells: the same line of facts for logs and tests.
struct Listener {
  std::move_only_function<void(const Notice&, Treatment)> noticed;
  std::move_only_function<void(const Withdrawn&)> withdrawn;
  std::move_only_function<void(const Fact&)> fact;
  std::move_only_function<void(Diagnosis)> diagnosis;  // once per change
  std::move_only_function<void(const Found&)> found;   // which cloud this is
};

class Controller {
 public:
  // `api_server` is the base URL. Both clients outlive the controller.
  Controller(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& metadata,
             io::HttpClient& api, Listener listener);
  ~Controller();

  // Evictions wait until then; none: they need not. The cordon and the deadline are not its concern.
  void hold(std::optional<Instant> until);

  const Source& source() const { return sources_.source(); }
  const Policy& policy() const { return policy_; }
  const Drain* drain() const { return drain_.get(); }
  // What the node ends by: what is drained for, else the nearest of those that stand; none when none does.
  const std::optional<Notice>& notice() const { return notice_; }

 private:
  void on_source(const SourceEvent& event);
  void follow_policy();
  void carry_out(DrainStep step);
  void send(Order order);
  void read_token();

  io::Loop& loop_;
  const Config& config_;
  io::HttpClient& api_;
  Listener listener_;
  kube::Server server_;
  Policy policy_;
  std::optional<Notice> notice_;
  std::string drained_for_;  // the id of the notice; empty: no drain is wanted
  Instant drained_until_{};
  std::unique_ptr<Drain> drain_;
  std::map<std::uint64_t, io::HttpClient::RequestId> in_flight_;  // by order
  io::Timer policy_timer_;
  io::Timer drain_timer_;
  SourceRunner sources_;
};

}  // namespace lastlight::interrupt
