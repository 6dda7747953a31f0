#include "interrupt/controller.h"

#include <utility>

#include "agent/io/jitter.h"
#include "interrupt/manual.h"
#include "interrupt/sources/make.h"

namespace lastlight::interrupt {

Controller::Controller(io::Loop& loop, const Config& config, std::string api_server, io::HttpClient& metadata,
                       io::HttpClient& api, Listener listener)
    : loop_(loop),
      listener_(std::move(listener)),
      policy_(config.interruption.policy),
      drain_(
          loop, config, std::move(api_server), api, [this](const Fact& fact) { on_fact(fact); },
          [this](const std::vector<std::string>& missing) { listener_.checked(missing); }),
      manual_timer_(loop, [this] { withdraw_manual("its time is over"); }),
      policy_timer_(loop, [this] { follow_policy(); }),
      sources_(
          loop, metadata, make_source(config.interruption, io::jitter()),
          [this](const SourceEvent& e) { on_source(e); }, [this](Diagnosis what) { listener_.diagnosis(what); }) {}

Treatment Controller::on_notice(const Notice& notice) {
  const Treatment treatment = policy_.on_notice(notice, loop_.now());
  follow_policy();  // the cordon leaves before anything is told
  listener_.noticed(notice, treatment);
  if (treatment != Treatment::Ignore) drain_.tell(notice);
  return treatment;
}

void Controller::on_source(const SourceEvent& event) {
  if (const auto* notice = std::get_if<Notice>(&event)) {
    on_notice(*notice);
  } else if (const auto* withdrawn = std::get_if<Withdrawn>(&event)) {
    policy_.on_withdrawn(withdrawn->id);
    follow_policy();
    listener_.withdrawn(*withdrawn);
  } else {
    listener_.found(std::get<Found>(event));
  }
}

void Controller::on_fact(const Fact& fact) {
  if (fact.kind == Fact::Kind::Drained) sources_.may_start(doing_ ? doing_->id : "");
  listener_.fact(fact);
}

void Controller::follow_policy() {
  const Instant now = loop_.now();
  const Stance stance = policy_.decide(now);
  policy_timer_.start_at(stance.wake);
  notice_ = stance.nearest;
  std::optional<Doing> next;
  if (stance.drain) {
    next = Doing{.id = stance.drain->id, .until = stance.drain->deadline, .mark = kube::Mark::Drain};
  } else if (stance.mark) {
    next = Doing{.id = stance.mark->notice.id, .until = stance.mark->until, .mark = stance.mark->mark};
  }
  if (next == doing_) return;
  doing_ = next;
  if (!doing_) return drain_.withdraw();
  if (!stance.drain) return drain_.mark_for(*stance.mark);
  drain_.drain_for(*stance.drain);
  // An earlier life of the agent may have drained before the source told this one what for.
  if (drain_.drain()->drained()) sources_.may_start(doing_->id);
}

std::expected<Treatment, std::string> Controller::announce(NoticeKind kind, Duration in) {
  if (!manual_.empty()) return std::unexpected("a notice that was said by hand stands already: " + manual_);
  const Notice notice = manual_notice(kind, in, loop_.now(), io::Loop::read_wall_clock());
  manual_ = notice.id;
  manual_timer_.start_at(notice.deadline + Drain::kMarksOutlast);
  return on_notice(notice);
}

bool Controller::take_back() {
  const bool stands = !manual_.empty();
  withdraw_manual("taken back");
  if (stands) return true;
  // Of an earlier life of the agent, which went on from what was saved.
  if (doing_ || !drain_.marks_by_hand()) return false;
  drain_.withdraw();
  return true;
}

void Controller::withdraw_manual(const std::string& why) {
  manual_timer_.stop();
  if (const std::string id = std::exchange(manual_, {}); !id.empty()) on_source(Withdrawn{.id = id, .why = why});
}

void Controller::hold(std::optional<Instant> until) {
  drain_.hold(until);
}

}  // namespace lastlight::interrupt
