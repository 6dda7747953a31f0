// The shell of the interruption half: a source that hears notices, a policy that says what is done about those that
// stand, and a drain. Every decision is made by the cores it carries out.
#pragma once

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/io/http_client.h"
#include "agent/io/timer.h"
#include "interrupt/drain_runner.h"
#include "interrupt/notice.h"
#include "interrupt/policy.h"
#include "interrupt/source_runner.h"

namespace lastlight::interrupt {

// What the controller tells: the same line of facts for logs and tests.
struct Listener {
  std::move_only_function<void(const Notice&, Treatment)> noticed;
  std::move_only_function<void(const Withdrawn&)> withdrawn;
  std::move_only_function<void(const Fact&)> fact;
  std::move_only_function<void(Diagnosis)> diagnosis;                      // once per change
  std::move_only_function<void(const Found&)> found;                       // which cloud this is
  std::move_only_function<void(const std::vector<std::string>&)> checked;  // what a drain would lack, once per change
};

class Controller {
 public:
  // `api_server` is the base URL. Both clients outlive the controller.
  Controller(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& metadata,
             io::HttpClient& api, Listener listener);

  // Evictions wait until then; none: they need not. The cordon and the deadline are not its concern.
  void hold(std::optional<Instant> until);

  // A person's notice (manual.h), treated as a metadata service's would be: by the policy. One stands at a time, until
  // it is taken back or the marks of its drain have outlasted its end. What is done about it, or why it is not heard.
  std::expected<Treatment, std::string> announce(NoticeKind kind, Duration in);
  bool take_back();                                      // false: there was none
  const std::string& manual() const { return manual_; }  // its id; empty: none stands

  const Source& source() const { return sources_.source(); }
  const Policy& policy() const { return policy_; }
  const Drain* drain() const { return drain_.drain(); }
  const SelfCheck& self_check() const { return drain_.self_check(); }
  // What the node ends by: what is drained for, else the nearest of those that stand; none when none does.
  const std::optional<Notice>& notice() const { return notice_; }

 private:
  void on_source(const SourceEvent& event);
  Treatment on_notice(const Notice& notice);
  void withdraw_manual(const std::string& why);
  void on_fact(const Fact& fact);
  void follow_policy();

  io::Loop& loop_;
  Listener listener_;
  Policy policy_;
  std::optional<Notice> notice_;
  // What is done at present; none: no drain and no mark is wanted.
  struct Doing {
    std::string id;  // of the notice
    Instant until{};
    kube::Mark mark = kube::Mark::Drain;
    bool operator==(const Doing&) const = default;
  };
  std::optional<Doing> doing_;
  DrainRunner drain_;
  std::string manual_;  // the id of the person's notice that stands
  io::Timer manual_timer_;
  io::Timer policy_timer_;
  SourceRunner sources_;
};

}  // namespace lastlight::interrupt
