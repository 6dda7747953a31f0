// What a metadata service announces: this node ends at `deadline`. A value; sources make it, drain acts on it.
#pragma once

#include <string>

#include "agent/base/time.h"

namespace lastlight::interrupt {

enum class NoticeKind { SpotTerminate };
enum class NoticeAction { Terminate, Stop, Hibernate };

struct Notice {
  NoticeKind kind = NoticeKind::SpotTerminate;
  NoticeAction action = NoticeAction::Terminate;
  Instant deadline{};             // on the boot clock, so a node's wrong wall clock changes nothing
  std::string id;                 // the same announcement always has the same id
  std::string source;             // "aws"
  bool deadline_assumed = false;  // the reply had no usable Date: the documented lead time was taken from its arrival
};

// The source no longer announces the notice with this id.
struct Withdrawn {
  std::string id;
};

}  // namespace lastlight::interrupt
