// What a metadata service announces about this node. A value; sources make it, policy says what is done, drain acts.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "agent/base/time.h"

namespace lastlight::interrupt {

enum class NoticeKind {
  SpotTerminate,  // AWS, instance-action
  SpotStop,
  SpotHibernate,
  Preempt,       // GCP, Azure
  Terminate,     // Azure Terminate: a scale-in, a deletion
  AsgTerminate,  // AWS, the Auto Scaling group lets go of it
  Reboot,
  Redeploy,       // Azure: moves to another host, ephemeral disks are lost
  Maintenance,    // AWS retirement, stop, system maintenance; GCP termination on host maintenance
  Rebalance,      // AWS: the spot capacity is at an elevated risk
  Freeze,         // Azure: pauses for seconds
  LiveMigration,  // GCP
};
inline constexpr std::size_t kNoticeKinds = 12;

// What becomes of the machine.
enum class NoticeAction { Terminate, Stop, Hibernate, Reboot, Pause, None };
inline constexpr std::size_t kNoticeActions = 6;

struct Notice {
  NoticeKind kind = NoticeKind::SpotTerminate;
  NoticeAction action = NoticeAction::Terminate;
  Instant deadline{};  // on the boot clock, so a node's wrong wall clock changes nothing; kNever: no time was said
  std::string id;      // the same announcement always has the same id
  std::string source;  // "aws", "gcp", "azure"
  bool deadline_assumed = false;       // the reply did not say: a documented or configured lead was taken
  std::string code = {};               // the cloud's own word: "instance-retirement", "Redeploy"
  Instant heard{};                     // the reply's arrival
  std::optional<Instant> unseen = {};  // when the last request went out whose reply did not have it
  bool alone = false;                  // the announcement names this machine and no other
  std::optional<Instant> made = {};    // where it names no time of an end, but that of its making
};

// The source no longer announces the notice with this id.
struct Withdrawn {
  std::string id;
  std::string why = {};  // "absent", or the cloud's word: "canceled", "completed"
};

// As the configuration, logs, metrics, webhooks and the notice endpoint spell them: "spot-terminate", "hibernate".
std::string_view kind_name(NoticeKind kind);
std::string_view action_name(NoticeAction action);
// The reason of a Kubernetes Event about it: the words that aws-node-termination-handler has for the same, so that
// alerts on them go on working.
std::string_view event_reason(NoticeKind kind);

}  // namespace lastlight::interrupt
