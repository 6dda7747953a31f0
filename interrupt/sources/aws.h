// The EC2 instance metadata service as a state machine. It owns the token and what was announced. One lane asks the
// spot notice each `poll`, the other the slow items in turn, so that none of them can delay it; a slow item goes out
// when a spot poll has ended, since a wake-up of its own would cost more than the request. Follows the EC2 user guide:
// PUT /latest/api/token, then GET below /latest/meta-data/, 404 being "nothing". Without a token the spot item is still
// asked, because its answer tells what is wrong; what it says counts only where version 1 is allowed.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "agent/config.h"
#include "interrupt/sources/reading.h"

namespace lastlight::interrupt {

class AwsSource final : public Source {
 public:
  AwsSource(const InterruptionConfig& config, Uniform uniform);

  std::string_view name() const override { return "aws"; }
  SourceStep next(Instant now) override;
  SourceEvents on_reply(unsigned lane, const HttpReply& reply, Instant sent, Instant now) override;

 private:
  static constexpr unsigned kSpotLane = 0;
  static constexpr unsigned kSlowLane = 1;
  enum class Item { Rebalance, Scheduled, History, Asg };
  static constexpr unsigned kItems = 4;

  HttpRequest token_request() const;
  HttpRequest item_request(std::string_view path) const;
  void ask_spot(SourceStep& step, Instant now);
  void ask_slow(SourceStep& step, Instant now);
  Instant wake() const;
  void on_token(const HttpReply& reply, Instant now);
  void on_spot(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out);
  void on_slow(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out);
  bool read_slow(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out);
  bool read_spot(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out);
  bool read_rebalance(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out);
  bool read_asg(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out);
  bool read_scheduled(const HttpReply& reply, Instant sent, Instant now, SourceEvents& out);
  bool read_history(const HttpReply& reply, SourceEvents& out);
  void succeeded(Instant now);
  void unheard();
  Announced& announced(Item item);

  const InterruptionConfig config_;
  Uniform uniform_;
  Lane spot_lane_{config_, uniform_};
  Lane slow_lane_{config_, uniform_};
  Item item_ = Item::Rebalance;  // of the slow lane, in flight or next
  bool started_ = false;
  Instant polled_{};  // when the spot lane's last poll began

  std::array<std::string, 2> endpoints_;  // IPv4 and IPv6, or the configured one twice
  unsigned endpoint_ = 0;
  unsigned unheard_ = 0;  // polls in a row without any reply from this endpoint

  bool await_token_ = false;  // the spot lane's request is the PUT
  bool tokenless_ = false;    // the spot lane's GET carries no token
  bool token_tried_ = false;  // this poll already asked for a token
  bool retokened_ = false;    // this poll already answered a 401 with a new token
  bool put_silent_ = false;   // the last PUT got no reply at all
  unsigned token_failures_ = 0;
  Instant token_retry_{};  // not before, while polls work without a token
  std::string token_;
  Instant token_renew_{};
  Instant token_end_{};

  Announced spot_;
  Announced rebalance_;
  Announced maintenance_;
  Announced asg_;
};

}  // namespace lastlight::interrupt
