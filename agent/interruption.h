// The interruption half, wired: a controller that hears of the node's end and drains, and those it tells: pods that
// hang on GET /interruption, webhooks and commands, the log. All of it is there between start() and stop().
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config.h"
#include "agent/io/http_client.h"
#include "agent/io/loop.h"
#include "interrupt/controller.h"
#include "interrupt/messenger.h"
#include "interrupt/notice_endpoint.h"

namespace lastlight {

class Interruption {
 public:
  struct Calls {
    std::function<void()> drain_started;
    std::function<void(const std::string& host, io::HttpClient::Resolved done)> resolve;  // for webhooks
    // As Supervised::run_command().
    std::function<std::optional<std::string>(std::uint64_t number, std::span<const std::string> words,
                                             std::string_view input)>
        run_command;
  };

  // All outlive it.
  Interruption(io::Loop& loop, const Config& config, const std::string& api_server, io::HttpClient& metadata,
               io::HttpClient& api, Calls calls);

  void start();  // nothing, if the configuration names no source
  void stop();
  void on_command_end(std::uint64_t number, int status, std::string_view error);

  // None of them is there while it is stopped.
  interrupt::Controller* controller() const { return controller_.get(); }
  const interrupt::NoticeEndpoint* notice_endpoint() const { return notice_endpoint_.get(); }
  const interrupt::Messenger* messenger() const { return messenger_.get(); }
  // The drain, and whether a notice stands.
  const interrupt::Drain* drain() const { return controller_ ? controller_->drain() : nullptr; }
  bool noticed() const { return controller_ && controller_->notice(); }

 private:
  interrupt::Listener listener();
  std::vector<AddressSpec> notice_addresses() const;
  void start_notice_endpoint();
  void start_messenger();
  void tell_nearest(std::string_view id);
  std::optional<std::string> start_command(std::uint64_t delivery, const interrupt::CommandOrder& order);

  io::Loop& loop_;
  const Config& config_;
  const std::string& api_server_;
  io::HttpClient& metadata_;
  io::HttpClient& api_;
  Calls calls_;
  std::uint64_t last_command_ = 0;  // never used again, so that the end of a stopped half's command is nobody's
  std::map<std::uint64_t, std::uint64_t> commands_;  // number -> the messenger's delivery
  std::unique_ptr<interrupt::NoticeEndpoint> notice_endpoint_;
  std::unique_ptr<interrupt::Messenger> messenger_;
  std::unique_ptr<interrupt::Controller> controller_;
};

}  // namespace lastlight
