// The shell of one node's drain, or of its marks alone: its timer, its HTTP, and what outlives a crash of its owner: a
// copy of the node's annotation in a small file. It reads the service account's token before each step, since the
// kubelet rotates it, and checks at start and each hour that a drain would be permitted.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "agent/config.h"
#include "agent/io/http_client.h"
#include "agent/io/timer.h"
#include "interrupt/drain.h"
#include "interrupt/policy.h"
#include "interrupt/self_check.h"

namespace lastlight::interrupt {

class DrainRunner {
 public:
  using OnFact = std::move_only_function<void(const Fact&)>;
  // What the last check found missing; called when that has changed.
  using OnCheck = std::move_only_function<void(const std::vector<std::string>&)>;

  static constexpr std::string_view kAgent = "agent";
  static constexpr std::string_view kStandalone = "standalone";  // a command's
  static std::string boot_id();

  // `api_server` is the base URL; `api` outlives the runner. From the loop's next turn on it goes on with what an
  // earlier life of this owner saved, takes away what an earlier boot left and checks itself; no callback comes from
  // the constructor.
  DrainRunner(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& api, OnFact on_fact,
              OnCheck on_check, std::string_view owner = kAgent);
  ~DrainRunner();

  void drain_for(const Notice& notice);
  void mark_for(const Marking& marking);
  void withdraw();
  void tell(const Notice& notice);  // by a Kubernetes Event, after what is more urgent
  // Evictions wait until then; none: they need not.
  void hold(std::optional<Instant> until);

  const Drain* drain() const { return drain_.window().deadline == Instant{} ? nullptr : &drain_; }
  // Of this life or one before, a taint or cordon alone among them.
  bool marks_by_hand() const { return drain_.marks_by_hand(); }
  const SelfCheck& self_check() const { return check_; }

 private:
  void begin();
  SavedDrain saved_for(const Notice& notice, Instant until);
  void go_on_from(const SavedDrain& saved);
  void carry_out(DrainStep step);
  void send(Order order);
  void check();
  void read_token();
  void save();

  io::Loop& loop_;
  const Config& config_;
  io::HttpClient& api_;
  OnFact on_fact_;
  OnCheck on_check_;
  const std::string owner_;
  kube::Server server_;
  Uniform uniform_;
  std::string boot_;
  std::string saved_text_;  // as the file has it
  Drain drain_;
  SelfCheck check_;
  std::map<std::uint64_t, io::HttpClient::RequestId> in_flight_;  // by order
  io::HttpClient::RequestId check_request_ = 0;
  io::Timer begin_timer_;
  io::Timer timer_;
  io::Timer check_timer_;
};

}  // namespace lastlight::interrupt
