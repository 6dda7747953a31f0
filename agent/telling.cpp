#include "agent/telling.h"

#include "agent/base/log.h"

namespace lastlight {

std::string_view event_name(interrupt::Fact::Kind kind) {
  using Kind = interrupt::Fact::Kind;
  switch (kind) {
    case Kind::Started:
      return "drain.started";
    case Kind::Cordoned:
      return "drain.cordoned";
    case Kind::CordonFailed:
      return "drain.cordon_failed";
    case Kind::Tainted:
      return "drain.tainted";
    case Kind::TaintFailed:
      return "drain.taint_failed";
    case Kind::UncordonedByOther:
      return "drain.uncordoned_by_other";
    case Kind::NodeDeleted:
      return "drain.node_deleted";
    case Kind::KubeletStops:
      return "drain.kubelet_stops_pods";
    case Kind::Listed:
      return "drain.pods_listed";
    case Kind::Evicted:
      return "drain.pod_evicted";
    case Kind::Refused:
      return "drain.pod_refused";
    case Kind::Deleted:
      return "drain.pod_deleted";
    case Kind::Gone:
      return "drain.pod_gone";
    case Kind::Outlives:
      return "drain.pod_outlives_node";
    case Kind::Returned:
      return "drain.pod_returned";
    case Kind::Forbidden:
      return "drain.forbidden";
    case Kind::WatchFailed:
      return "drain.watch_failed";
    case Kind::AllTold:
      return "drain.all_told";
    case Kind::Drained:
      return "drain.drained";
    case Kind::Ended:
      return "drain.ended";
    case Kind::NeverTold:
      return "drain.pod_never_told";
    case Kind::Withdrawn:
      return "drain.withdrawn";
    case Kind::Unmarked:
      return "drain.unmarked";
    case Kind::UnmarkFailed:
      return "drain.unmark_failed";
  }
  return "drain.unknown";
}

std::string_view advice(interrupt::Diagnosis diagnosis) {
  switch (diagnosis) {
    case interrupt::Diagnosis::None:
      return "the metadata service answers";
    case interrupt::Diagnosis::HopLimit:
      return "the token request gets no reply while the item answers 401: the instance's HttpPutResponseHopLimit is "
             "too small for this pod; run with hostNetwork, or raise the limit (aws ec2 "
             "modify-instance-metadata-options --http-put-response-hop-limit 2)";
    case interrupt::Diagnosis::V1Only:
      return "no token is to be had, and the items answer without one: raise the instance's HttpPutResponseHopLimit, "
             "or "
             "allow version 1 by interruption.imds-v1: true; until then no notice is believed";
    case interrupt::Diagnosis::Disabled:
      return "the metadata service answers 403: it is off for this instance, or this caller is not allowed; enable it, "
             "or set interruption.source: none";
    case interrupt::Diagnosis::Warming:
      return "Scheduled Events does not answer yet: Azure enables it on the first call, which takes up to two minutes";
  }
  return "unknown";
}

void tell_notice(const interrupt::Notice& notice, Treatment treatment, std::string_view node, Instant now) {
  const double left = notice.deadline == kNever ? -1 : seconds(notice.deadline - now);
  log::warn("interruption.notice", {{"node", node},
                                    {"source", notice.source},
                                    {"kind", kind_name(notice.kind)},
                                    {"code", notice.code},
                                    {"action", action_name(notice.action)},
                                    {"treatment", interrupt::treatment_name(treatment)},
                                    {"id", notice.id},
                                    {"seconds_left", left}});
}

}  // namespace lastlight
