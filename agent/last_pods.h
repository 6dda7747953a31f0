// After a SIGTERM: is our node being drained, and are pods left on it that need names? One GET of the node; then, while
// it is drained (by us or by anyone), a list of its pods twice a second, since the watch of a drain of ours may have
// ended. Decides nothing: agent/leaving does.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/config.h"
#include "agent/io/http_client.h"
#include "agent/io/timer.h"
#include "agent/kube/pod.h"
#include "agent/kube/requests.h"
#include "agent/leaving.h"

namespace lastlight {

class LastPods {
 public:
  // `config` must outlive this. `changed`: pods() may be another.
  LastPods(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& api,
           std::move_only_function<void()> changed);
  ~LastPods();

  // Begins; without a node's name or an API server nothing can be learned. `draining`: that much is known.
  void ask(bool draining);
  Leaving::Pods pods() const { return pods_; }
  std::size_t left() const { return left_; }

 private:
  kube::Server server() const;
  void ask_node();
  void on_node(const HttpReply& reply);
  void ask_page();
  void on_page(const HttpReply& reply);
  void set(Leaving::Pods pods);

  static constexpr Duration kPeriod = std::chrono::milliseconds(500);
  static constexpr Duration kTimeout = std::chrono::seconds(5);
  static constexpr unsigned kPageSize = 100;
  static constexpr std::size_t kMaxPods = 2000;  // far above what a kubelet admits; more are not counted

  const Config& config_;
  const std::string api_server_;
  io::HttpClient& api_;
  std::move_only_function<void()> changed_;
  Leaving::Pods pods_ = Leaving::Pods::None;
  std::size_t left_ = 0;
  bool draining_ = false;
  std::vector<kube::Pod> seen_;  // of the pages so far
  std::string continue_;
  io::HttpClient::RequestId request_ = 0;
  io::Timer timer_;
};

}  // namespace lastlight
