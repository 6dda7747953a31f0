#include "agent/startup_taint.h"

#include <utility>

#include "agent/base/backoff.h"
#include "agent/base/json.h"
#include "agent/kube/status.h"
#include "agent/name_probe.h"

namespace lastlight {

void StartupTaint::go(Step step, Instant due) {
  step_ = step;
  due_ = due;
}

HttpRequest StartupTaint::request(const kube::Server& server) const {
  if (step_ == Step::Remove) {
    if (auto patch = kube::remove_taint(server, seen_, key_)) return std::move(*patch);
  }
  return kube::get_node(server, node_);
}

std::optional<StartupTaint::Told> StartupTaint::failed(std::string why) {
  if (std::exchange(last_failure_, why) == why) return std::nullopt;
  return Told{Told::What::Failed, std::move(why)};
}

std::optional<StartupTaint::Told> StartupTaint::on_answer(std::optional<std::uint16_t> rcode, Instant now) {
  under_way_ = false;
  if (rcode && NameProbe::is_from_upstream(*rcode)) {
    go(Step::Read, now);
    return std::nullopt;
  }
  go(Step::Ask, now + kAgain);
  return failed(rcode ? "a name of the cluster was answered with RCODE " + std::to_string(*rcode)
                      : std::string("a name of the cluster was not answered"));
}

std::optional<StartupTaint::Told> StartupTaint::on_reply(const HttpReply& reply, Instant now, double uniform) {
  under_way_ = false;
  if (reply.ok()) {
    failures_ = 0;
    const auto json = parse_json(reply.body);
    auto node = json ? kube::read_node(*json) : std::nullopt;
    if (node) seen_ = std::move(*node);
    if (step_ == Step::Remove) {
      go(Step::Done, now);
      return Told{Told::What::Removed, key_};
    }
    if (node && !kube::remove_taint({}, seen_, key_)) {
      go(Step::Done, now);
      return Told{Told::What::Absent, key_};
    }
    if (node) {
      go(Step::Remove, now);
      return std::nullopt;
    }
  }
  // 422: somebody changed the taints in between; look again at once, once.
  if (step_ == Step::Remove && reply.status == 422 && failures_++ == 0) {
    go(Step::Read, now);
    return std::nullopt;
  }
  go(Step::Ask, now + backoff(kRetryMin, kRetryMax, ++failures_, uniform));
  const kube::Status status = kube::read_status(reply);
  return failed(reply.status == 0 ? reply.error : std::to_string(reply.status) + " " + status.message);
}

}  // namespace lastlight
