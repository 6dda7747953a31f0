// The command line as a value. It only parses: the commands are run by main.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "agent/base/time.h"
#include "agent/config/file.h"
#include "interrupt/notice.h"

namespace lastlight::cli {

enum class Output { Text, Json };

// `cache get|flush|top`.
struct CacheCommand {
  enum class Verb { Get, FlushName, FlushZone, FlushAll, Top };
  Verb verb = Verb::Top;
  std::string name;         // get, flush
  std::string type = "A";   // get
  std::uint32_t most = 10;  // top
  Output output = Output::Text;
};

struct DoctorCommand {
  Output output = Output::Text;
  std::string network_policies;  // a file, "-", or empty
  int pid = 0;                   // of the pod to ask from; 0: any
};

// `drain --simulate KIND [--in 120s] [--for-real [--standalone]]`, `drain --cancel [--standalone]`.
struct DrainCommand {
  enum class Mode { DryRun, ForReal, Cancel };
  Mode mode = Mode::DryRun;
  interrupt::NoticeKind kind = interrupt::NoticeKind::SpotTerminate;
  Duration in = std::chrono::seconds(120);
  bool standalone = false;
  Output output = Output::Text;
};

// `status` without a probe.
struct StatusCommand {
  bool follow = false;
  Output output = Output::Text;
};

struct Command {
  enum class Name { Run, Check, Version, Status, Convert, Cache, Drain, Doctor };
  enum class Probe { None, Ready, Alive };
  Name name = Name::Run;
  std::string config = "/etc/lastlight/lastlight.yaml";
  std::vector<ConfigOverride> overrides;  // of the command line alone
  bool comments = false;                  // check: explain each key
  bool reference = false;                 // check: print CONFIGURATION.md instead
  Output output = Output::Text;           // check, version, convert
  Probe probe = Probe::None;              // status
  StatusCommand status;
  CacheCommand cache;
  DrainCommand drain;
  DoctorCommand doctor;
  std::string url;  // status --ready, --alive; empty: port 9253 of NODE_IP, or of loopback
  // convert: where what is replaced is configured; empty: it is not replaced
  std::string corefile;
  std::string kube_dns_configmap;
  std::string nth_env;
};

// Nothing to run: print `text` and leave with `exit_code` (0 for --help).
struct Usage {
  int exit_code = 0;
  std::string text;
};

std::expected<Command, Usage> parse_command(int argc, const char* const* argv);

}  // namespace lastlight::cli
