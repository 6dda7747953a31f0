// The shell of the interruption half: timers and HTTP. It runs a source, and from a notice on a drain: every decision
// is made by the cores it carries out. It reads the service account's token before each step of a drain, since the
// kubelet rotates it.
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
#include "interrupt/sources/aws.h"

namespace lastlight::interrupt {

// What the controller tells: the same line of facts for logs and tests.
struct Listener {
  std::move_only_function<void(const Notice&)> noticed;
  std::move_only_function<void(const Withdrawn&)> withdrawn;
  std::move_only_function<void(const Fact&)> fact;
  std::move_only_function<void(Diagnosis)> diagnosis;  // once per change
};

class Controller {
 public:
  // `api_server` is the base URL. Both clients outlive the controller.
  Controller(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& metadata,
             io::HttpClient& api, Listener listener);
  ~Controller();

  // Evictions wait until then; none: they need not. The cordon and the deadline are not its concern.
  void hold(std::optional<Instant> until);

  const AwsSource& source() const { return source_; }
  const Drain* drain() const { return drain_.get(); }
  const std::optional<Notice>& notice() const { return notice_; }

 private:
  void poll_source();
  void on_source_reply(const HttpReply& reply, Instant sent);
  void on_notice(const Notice& notice);
  void on_withdrawn(const Withdrawn& withdrawn);
  void carry_out(DrainStep step);
  void send(Order order);
  void read_token();

  io::Loop& loop_;
  const Config& config_;
  io::HttpClient& metadata_;
  io::HttpClient& api_;
  Listener listener_;
  kube::Server server_;
  AwsSource source_;
  Diagnosis diagnosis_ = Diagnosis::None;
  std::optional<Notice> notice_;
  std::unique_ptr<Drain> drain_;
  std::map<std::uint64_t, io::HttpClient::RequestId> in_flight_;  // by order
  io::HttpClient::RequestId metadata_request_ = 0;
  io::Timer poll_timer_;
  io::Timer drain_timer_;
};

}  // namespace lastlight::interrupt
