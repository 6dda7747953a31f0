#include "interrupt/source_runner.h"

#include <utility>

namespace lastlight::interrupt {

SourceRunner::SourceRunner(io::Loop& loop, io::HttpClient& client, std::unique_ptr<Source> source, OnEvent on_event,
                           OnDiagnosis on_diagnosis)
    : loop_(loop),
      client_(client),
      source_(std::move(source)),
      on_event_(std::move(on_event)),
      on_diagnosis_(std::move(on_diagnosis)),
      timer_(loop, [this] { ask(); }) {
  timer_.start_in(Duration::zero());
}

SourceRunner::~SourceRunner() {
  for (const io::HttpClient::RequestId id : in_flight_)
    client_.cancel(id);
}

void SourceRunner::may_start(std::string_view id) {
  source_->may_start(id);
  ask();
}

void SourceRunner::ask() {
  const Instant now = loop_.now();
  SourceStep step = source_->next(now);
  for (Ask& each : step.send) {
    in_flight_.at(each.lane) = client_.send(
        std::move(each.request), [this, lane = each.lane, now](const HttpReply& reply) { on_reply(lane, reply, now); });
  }
  timer_.start_at(step.wake);
}

void SourceRunner::on_reply(unsigned lane, const HttpReply& reply, Instant sent) {
  in_flight_.at(lane) = 0;
  for (const SourceEvent& event : source_->on_reply(lane, reply, sent, loop_.now()))
    on_event_(event);
  if (const Diagnosis diagnosis = source_->diagnosis(); std::exchange(diagnosis_, diagnosis) != diagnosis) {
    on_diagnosis_(diagnosis);
  }
  ask();
}

}  // namespace lastlight::interrupt
