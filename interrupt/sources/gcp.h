// The Compute Engine metadata server as a state machine: a hanging GET on `preempted` and one on `maintenance-event`,
// each on its own lane, so that a change is heard in milliseconds and nothing is polled. A value that is cleared again
// is asked for twice more before it is believed. Follows "Waiting for change" of the metadata documentation:
// wait_for_change, timeout_sec, and last_etag from the reply before.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "agent/config.h"
#include "interrupt/sources/reading.h"

namespace lastlight::interrupt {

class GcpSource final : public Source {
 public:
  GcpSource(const InterruptionConfig& config, Uniform uniform);

  std::string_view name() const override { return "gcp"; }
  SourceStep next(Instant now) override;
  SourceEvents on_reply(unsigned lane, const HttpReply& reply, Instant sent, Instant now) override;

 private:
  struct Value {
    std::string_view path;
    Lane lane;
    std::string etag = {};  // empty: the next request is answered at once
    Announced announced = {};
  };
  HttpRequest request(const Value& value) const;
  bool read(Value& value, const HttpReply& reply, Instant sent, Instant now, SourceEvents& out);

  const InterruptionConfig config_;
  Uniform uniform_;
  const std::string endpoint_;
  std::array<Value, 2> values_;
};

}  // namespace lastlight::interrupt
