// Follows the configuration while the agent runs: its file and the kube-dns ConfigMap's (by inotify, links swapped or
// not), and SIGHUP. A valid one is applied but for the keys that need a restart; an invalid one changes nothing and is
// logged with its lines. Owns the watches; knows nothing of what a key does.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/config/file.h"
#include "agent/config/reload.h"
#include "agent/io/file_watch.h"
#include "agent/io/loop.h"
#include "agent/io/signal.h"

namespace lastlight {

struct ReloadCounters {
  std::uint64_t applied = 0;
  std::uint64_t rejected = 0;
  bool last_rejected = false;      // what stands in the files is not in force
  std::size_t restart_needed = 0;  // gauge: keys whose change waits for a restart
};

class Reloading {
 public:
  using Load = std::function<ConfigResult()>;
  // Puts it into force; why not, if it cannot be.
  using Apply = std::move_only_function<std::optional<std::string>(const Config&)>;

  // `file`, or a directory of them, is empty where there is none to follow. `running` is what is in force, and must
  // outlive this.
  Reloading(io::Loop& loop, const std::string& file, const Config& running, Load load, Apply apply);

  void reload();
  const ReloadCounters& counters() const { return counters_; }

 private:
  void reject(const std::string& why);

  const Config& running_;
  Load load_;
  Apply apply_;
  ReloadCounters counters_;
  std::vector<std::unique_ptr<io::FileWatch>> watches_;
  io::Signal hangup_;
};

}  // namespace lastlight
