#include "interrupt/node_marks.h"

#include <algorithm>
#include <utility>

#include "agent/base/json.h"
#include "agent/kube/status.h"

namespace lastlight::interrupt {
namespace {

constexpr auto kRetryMin = std::chrono::milliseconds(250);
constexpr auto kRetryMax = std::chrono::seconds(1);        // the window is short: a mark that is late is worth little
constexpr auto kClearRetryMax = std::chrono::seconds(60);  // nothing is urgent then
constexpr unsigned kDenials = 10;                          // about 8 s
constexpr unsigned kTaintTries = 3;                        // both forms, and one after a look at the node

}  // namespace

void NodeMarks::go(Step step, Instant now) {
  step_ = step;
  at_ = now;
  failures_ = 0;
}

void NodeMarks::retry(Instant now, double uniform) {
  at_ = now + backoff(kRetryMin, clearing_ ? Duration(kClearRetryMax) : Duration(kRetryMax), ++failures_, uniform);
}

void NodeMarks::set(const std::string& value, kube::Mark mark, Instant now) {
  if (!clearing_ && value == value_ && mark == mark_) return;
  const bool marked = clearing_ ? !idle() : !value_.empty();
  if (marked && mark < mark_) {
    clear(now);
    afterwards_.emplace(value, mark);
    return;
  }
  afterwards_.reset();
  value_ = value;
  mark_ = mark;
  clearing_ = false;
  hopeless_ = false;
  denials_ = 0;
  told_failure_ = false;
  cordoned_again_ = 0;
  restart_ = in_flight_;
  go(Step::Cordon, now);
}

void NodeMarks::clear(Instant now) {
  afterwards_.reset();
  if (std::exchange(clearing_, true)) return;
  told_failure_ = false;
  value_.clear();
  restart_ = in_flight_;
  go(Step::ReadToClear, now);
}

void NodeMarks::cleared(Instant now) {
  cordoned_ = false;
  go(Step::Done, now);
  if (const auto next = std::exchange(afterwards_, std::nullopt)) set(next->first, next->second, now);
}

Instant NodeMarks::wake() const {
  return in_flight_ || step_ == Step::Done ? kNever : at_;
}

void NodeMarks::hurry(Instant now) {
  if (step_ == Step::Cordon) at_ = std::min(at_, now);
}

std::optional<NodeMarks::Next> NodeMarks::next(Instant now) {
  if (now < wake()) return std::nullopt;
  in_flight_ = true;
  asked_ = now;
  switch (step_) {
    case Step::Cordon:
      ++writes_;
      return Next{Call::Cordon, kube::mark_node(server_, node_, value_, mark_)};
    case Step::Taint:
      ++writes_;
      return Next{Call::Taint, kube::add_taint(server_, node_, *wanted_taint(), to_list_)};
    case Step::ReadForTaint:
    case Step::ReadToClear:
      return Next{Call::Read, kube::get_node(server_, node_)};
    case Step::Unmark:
      if (auto patch = kube::unmark_node(server_, seen_, taint_.key)) {
        ++writes_;
        return Next{Call::Unmark, std::move(*patch)};
      }
      break;
    case Step::Done:
      break;
  }
  in_flight_ = false;
  cleared(now);  // in the meantime somebody took everything away
  return std::nullopt;
}

void NodeMarks::read(const HttpReply& reply) {
  const auto json = parse_json(reply.body);
  if (!json) return;
  if (auto node = kube::read_node(*json)) seen_ = std::move(*node);
}

const kube::Taint* NodeMarks::wanted_taint() const {
  if (mark_ == kube::Mark::SoftTaint) return &soft_;
  return mark_ == kube::Mark::Drain && !taint_.key.empty() ? &taint_ : nullptr;
}

bool NodeMarks::tainted() const {
  const kube::Taint* wanted = wanted_taint();
  return wanted == nullptr || std::ranges::find(seen_.taints, wanted->key, &kube::Taint::key) != seen_.taints.end();
}

std::vector<NodeMarks::Told> NodeMarks::on_reply(const HttpReply& reply, Instant now, double uniform) {
  std::vector<Told> told;
  in_flight_ = false;
  if (std::exchange(restart_, false)) return told;  // what is wanted has changed meanwhile: step_ is its first
  switch (step_) {
    case Step::Cordon:
      on_cordon(reply, now, uniform, told);
      break;
    case Step::Taint:
      on_taint(reply, now, uniform, told);
      break;
    case Step::ReadForTaint:
    case Step::ReadToClear:
      on_read(reply, now, uniform, told);
      break;
    case Step::Unmark:
      on_unmark(reply, now, uniform, told);
      break;
    case Step::Done:
      break;
  }
  return told;
}

void NodeMarks::on_cordon(const HttpReply& reply, Instant now, double uniform, std::vector<Told>& told) {
  if (reply.ok()) {
    read(reply);
    hopeless_ = false;
    cordoned_ = mark_ >= kube::Mark::Cordon;
    if (cordoned_)
      told.push_back({Happened::Cordoned, seen_.our_cordon || !seen_.unschedulable ? "" : "it was cordoned before"});
    taint_tries_ = 0;
    to_list_ = seen_.has_taints || seen_.name.empty();
    go(tainted() ? Step::Done : Step::Taint, now);
    return;
  }
  // No right, or an admission denial: the pods are told all the same. No repetition helps, but that an API server that
  // has just started denies everything until it has read its roles.
  const bool denied = reply.status == 403 || reply.status == 422;
  if (denied ? !std::exchange(hopeless_, true) : failures_ == 0)
    told.push_back(
        {mark_ >= kube::Mark::Cordon ? Happened::CordonFailed : Happened::TaintFailed, kube::describe(reply)});
  if (denied && (reply.status == 422 || ++denials_ >= kDenials)) {
    step_ = Step::Done;
  } else {
    retry(now, uniform);
  }
}

void NodeMarks::taint_failed(const HttpReply& reply, Instant now, std::vector<Told>& told) {
  told.push_back({Happened::TaintFailed, kube::describe(reply)});
  go(Step::Done, now);
}

void NodeMarks::on_taint(const HttpReply& reply, Instant now, double uniform, std::vector<Told>& told) {
  if (reply.ok()) {
    read(reply);
    told.push_back({Happened::Tainted, wanted_taint()->key});
    go(Step::Done, now);
  } else if (reply.status == 422 && ++taint_tries_ < kTaintTries) {
    // There is no list to add to, or there is one by now; or it is there already, by a call whose reply was lost.
    to_list_ = !to_list_;
    go(taint_tries_ == 1 ? Step::Taint : Step::ReadForTaint, now);
  } else if (reply.status == 403 || reply.status == 422) {
    taint_failed(reply, now, told);
  } else {
    retry(now, uniform);
  }
}

void NodeMarks::on_read(const HttpReply& reply, Instant now, double uniform, std::vector<Told>& told) {
  if (step_ == Step::ReadForTaint) {
    if (!reply.ok()) return taint_failed(reply, now, told);
    read(reply);
    to_list_ = seen_.has_taints;
    if (!tainted()) return go(Step::Taint, now);
    told.push_back({Happened::Tainted, wanted_taint()->key});
    go(Step::Done, now);
  } else if (reply.ok()) {
    read(reply);
    const unsigned failures = failures_;
    go(Step::Unmark, now);
    failures_ = failures;
    if (!kube::unmark_node(server_, seen_, taint_.key)) cleared(now);
  } else if (reply.status == 404) {
    cleared(now);
  } else {
    retry(now, uniform);
  }
}

void NodeMarks::on_unmark(const HttpReply& reply, Instant now, double uniform, std::vector<Told>& told) {
  if (reply.ok()) {
    const bool left = seen_.unschedulable && !seen_.our_cordon;
    told.push_back({Happened::Unmarked, left ? "the cordon was somebody else's before: it stays" : ""});
    read(reply);
    return cleared(now);
  }
  // 422: somebody changed it in between, so look again. The rest, a missing right included, is tried until it works.
  if (reply.status != 422 && !std::exchange(told_failure_, true)) {
    told.push_back({Happened::UnmarkFailed, kube::describe(reply)});
  }
  step_ = Step::ReadToClear;
  retry(now, uniform);
}

std::vector<NodeMarks::Told> NodeMarks::on_node(const kube::Node& node, Instant now) {
  std::vector<Told> told;
  const bool another = !seen_.uid.empty() && node.uid != seen_.uid;
  // Events from before our last answer say nothing new.
  if (!another && node.resource_version <= seen_.resource_version) return told;
  seen_ = node;
  if (clearing_ || !cordoned_ || step_ != Step::Done || node.unschedulable) return told;
  if (another) {
    cordoned_ = false;
    go(Step::Cordon, now);
  } else if (cordoned_again_++ == 0) {
    told.push_back({Happened::UncordonedByOther, "cordoned once more"});
    go(Step::Cordon, now);
  } else if (cordoned_again_ == 2) {
    told.push_back({Happened::UncordonedByOther, "left as it is"});
  }
  return told;
}

std::vector<NodeMarks::Told> NodeMarks::on_deleted(Instant now) {
  seen_ = {};
  if (clearing_ || value_.empty()) return {};
  cordoned_ = false;
  restart_ = in_flight_;  // the taint, say, of a node that then comes back without a cordon
  go(Step::Cordon, now);
  return {{Happened::NodeDeleted, "the drain goes on"}};
}

}  // namespace lastlight::interrupt
