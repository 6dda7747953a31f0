// The shell of interrupt/hooks/notice_board: GET /interruption on its own listeners, apart from metrics and probes,
// since pods may ask it. An address that is not on this machine yet (a link-local one before the takeover) is tried
// again. Thousands of waiters are told in portions, so that no query waits for the last of them.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "agent/base/address.h"
#include "agent/io/http_server.h"
#include "agent/io/timer.h"
#include "interrupt/hooks/notice_board.h"

namespace lastlight::interrupt {

class NoticeEndpoint {
 public:
  static constexpr std::size_t kPortion = 128;
  static constexpr Duration kRetry = std::chrono::seconds(1);

  explicit NoticeEndpoint(io::Loop& loop);

  // `told` is called once per address: when it listens, or at the first failure (with its reason).
  using Told = std::move_only_function<void(const Endpoint& where, const std::string& error)>;
  void listen(const Endpoint& where, Told told);

  void on_notice(const Notice& notice);
  void on_withdrawn(const Withdrawn& withdrawn);

  const NoticeBoardCounters& counters() const { return board_.counters(); }

 private:
  struct Listener {
    Endpoint where;
    Told told;
    bool complained = false;
    std::unique_ptr<io::HttpServer> server;
  };
  void open(std::size_t index);
  void answer(const std::vector<NoticeBoard::WaiterId>& waiters, const std::string& known = {});
  void answer_portion();
  void on_time();

  io::Loop& loop_;
  NoticeBoard board_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  struct Due {
    NoticeBoard::WaiterId id;
    std::string known;  // the state it knew, where its wait has passed
  };
  std::deque<Due> due_;
  io::Timer wait_timer_;
  io::Timer portion_timer_;
  io::Timer retry_timer_;
};

}  // namespace lastlight::interrupt
