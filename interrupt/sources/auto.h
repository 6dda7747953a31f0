// `source: auto`: asks each cloud's service for what only that cloud says, one request after the other, and is that
// cloud's source from then on. A round is bounded by its few requests; while nobody is recognised it is repeated, ever
// more rarely, because an agent may start before its network. The answers are the reason that is told.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/config.h"
#include "interrupt/sources/reading.h"

namespace lastlight::interrupt {

class AutoSource final : public Source {
 public:
  AutoSource(const InterruptionConfig& config, Uniform uniform);

  std::string_view name() const override { return chosen_ ? chosen_->name() : "auto"; }
  SourceStep next(Instant now) override;
  SourceEvents on_reply(unsigned lane, const HttpReply& reply, Instant sent, Instant now) override;
  void may_start(std::string_view id) override;

  std::optional<Instant> last_success() const override { return chosen_ ? chosen_->last_success() : std::nullopt; }
  Diagnosis diagnosis() const override { return chosen_ ? chosen_->diagnosis() : Diagnosis::None; }
  const SourceCounters& counters() const override { return chosen_ ? chosen_->counters() : counters_; }

 private:
  void end_round(Instant now, SourceEvents& out);

  const InterruptionConfig config_;
  Uniform uniform_;
  std::unique_ptr<Source> chosen_;
  bool in_flight_ = false;
  std::size_t probe_ = 0;  // in flight or next
  InterruptionConfig::Source recognised_ = InterruptionConfig::Source::None;
  std::string why_;
  unsigned rounds_ = 0;
  Instant due_{};
};

}  // namespace lastlight::interrupt
