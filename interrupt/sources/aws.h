// The EC2 instance metadata service, version 2, as a state machine: which request to send next and what its reply
// means. One request at a time; every `send` gets exactly one on_reply (a time-out is a reply with status 0). It owns
// the token and what was announced; it never ends: any error, hang or garbage costs one back-off and is counted.
// Follows the EC2 user guide: PUT /latest/api/token, then GET /latest/meta-data/spot/instance-action, 404 being
// "nothing".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "agent/base/backoff.h"
#include "agent/base/http.h"
#include "agent/config.h"
#include "interrupt/notice.h"

namespace lastlight::interrupt {

struct SourceStep {
  std::optional<HttpRequest> send;
  Instant wake = kNever;  // call next() again then, or after on_reply
};

using SourceResult = std::variant<std::monostate, Notice, Withdrawn>;

enum class Diagnosis {
  None,
  // The PUT hangs while the GET answers 401: the token's reply is dropped on its way because the instance's
  // HttpPutResponseHopLimit is smaller than the hops to this pod.
  HopLimit,
  Disabled,  // 403: the service is off for this instance, or this caller is not allowed
};

struct AwsCounters {
  std::uint64_t requests = 0;
  std::uint64_t tokens = 0;          // granted
  std::uint64_t token_failures = 0;  // PUTs without a token in the reply
  std::uint64_t polls_ok = 0;        // 404 or a readable notice
  std::uint64_t polls_failed = 0;    // everything else
  std::uint64_t unauthorized = 0;    // 401 on the GET
  std::uint64_t unreadable = 0;      // 200 with a body that is no instance-action
  std::uint64_t out_of_range = 0;    // a time in the past or absurdly far: left standing, or a lie
};

class AwsSource {
 public:
  AwsSource(const InterruptionConfig& config, Uniform uniform);

  SourceStep next(Instant now);
  SourceResult on_reply(const HttpReply& reply, Instant sent, Instant now);

  std::optional<Instant> last_success() const { return last_success_; }
  Diagnosis diagnosis() const { return diagnosis_; }
  const AwsCounters& counters() const { return counters_; }

 private:
  enum class Await { Nothing, Token, Item };

  HttpRequest token_request() const;
  HttpRequest item_request() const;
  void on_token(const HttpReply& reply, Instant now);
  SourceResult on_item(const HttpReply& reply, Instant sent, Instant now);
  SourceResult on_instance_action(const HttpReply& reply, Instant sent, Instant now);
  SourceResult on_nothing();
  void succeeded(Instant now);
  void failed(Instant now);

  const InterruptionConfig config_;
  Uniform uniform_;
  Await await_ = Await::Nothing;
  Instant due_{};             // when the next request may go
  Instant tick_{};            // when this poll began: the period is kept from here
  bool tick_open_ = false;    // the poll that began at tick_ has no outcome yet
  bool token_tried_ = false;  // this poll already asked for a token
  bool retokened_ = false;    // this poll already answered a 401 with a new token
  bool put_silent_ = false;   // the last PUT got no reply at all
  unsigned failures_ = 0;
  unsigned token_failures_ = 0;
  Instant token_retry_{};  // not before, while polls work without a token
  std::string token_;
  Instant token_renew_{};
  Instant token_end_{};
  std::string announced_;  // id of the notice that stands
  unsigned absent_ = 0;    // 404s in a row since
  std::optional<Instant> last_success_;
  Diagnosis diagnosis_ = Diagnosis::None;
  AwsCounters counters_;
};

}  // namespace lastlight::interrupt
