// One scrape: every module's plain counters under their Prometheus names. The names and helps stand here and nowhere
// else.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/address.h"
#include "agent/base/bytes.h"
#include "agent/base/histogram.h"
#include "agent/base/time.h"
#include "dnscache/counters.h"
#include "dnscache/server.h"
#include "dnscache/sketch.h"
#include "dnscache/upstream.h"
#include "interrupt/drain.h"
#include "interrupt/hooks/hooks.h"
#include "interrupt/hooks/notice_board.h"
#include "interrupt/notice.h"
#include "interrupt/policy.h"
#include "interrupt/self_check.h"
#include "interrupt/sources/source.h"

namespace lastlight::metrics {

// Of this process (proc(5)).
struct Process {
  Bytes resident{};   // RSS
  Bytes anonymous{};  // of it, what no file backs
  double cpu_seconds = 0;
  std::size_t open_fds = 0;
  Duration up{};
};

// Views of what is counted elsewhere; absent halves are null.
struct Scrape {
  std::string_view version;
  Instant now{};
  std::string_view node;
  Process process;
  const dns::ForwarderCounters& forwarder;
  const Histogram& waits;
  const dns::CacheCounters& cache;
  Bytes cache_size;
  dns::CutCounters cut;
  struct ConfigReloads {
    std::uint64_t applied = 0;
    std::uint64_t rejected = 0;
    bool last_rejected = false;
    std::size_t restart_needed = 0;
  } reload;
  dns::UpstreamCounters upstream;
  std::map<Endpoint, dns::UpstreamView> upstreams;
  std::size_t upstreams_refused = 0;
  std::uint64_t linklocal_exceeded = 0;
  dns::ServerCounters server;
  Bytes receive_buffer;
  std::string_view takeover_state;
  std::uint64_t takeover_cut_connections = 0;
  const Histogram& loop_lag;
  const interrupt::NoticeBoardCounters* notice_endpoint = nullptr;
  const interrupt::Hooks* hooks = nullptr;
  const interrupt::Source* source = nullptr;
  const interrupt::Policy* policy = nullptr;
  const interrupt::Drain* drain = nullptr;
  const interrupt::SelfCheck* self_check = nullptr;
  const std::optional<interrupt::Notice>* notice = nullptr;
  std::vector<dns::ClientCount> top_clients = {};  // kTopClients at most
};

// Each is a series, and pods come and go.
inline constexpr std::size_t kTopClients = 5;

std::string render(const Scrape& scrape);

}  // namespace lastlight::metrics
