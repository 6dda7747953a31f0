#include "metrics/status.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "agent/base/json.h"
#include "dnscache/presentation.h"

namespace lastlight::metrics {

namespace {

// A browser needs no more digits, and the document stays small.
double rounded(double value) {
  return std::round(value * 1000) / 1000;
}

double in_seconds(Duration duration) {
  return rounded(seconds(duration));
}

double in_ms(double nanoseconds) {
  return rounded(nanoseconds / 1e6);
}

Json waits(const Histogram& histogram) {
  return {{"count", histogram.count()},
          {"sum_ms", in_ms(histogram.sum())},
          {"p50_ms", in_ms(histogram.quantile(0.5))},
          {"p99_ms", in_ms(histogram.quantile(0.99))}};
}

Json names(const Scrape& s) {
  Json responses = Json::object();
  for (std::size_t rcode = 0; rcode < s.forwarder.rcodes.size(); ++rcode) {
    if (s.forwarder.rcodes.at(rcode) > 0)
      responses[dns::rcode_text(static_cast<std::uint16_t>(rcode))] = s.forwarder.rcodes.at(rcode);
  }
  return {{"queries", {{"udp", s.server.udp_queries}, {"tcp", s.server.tcp_queries}}},
          {"responses", std::move(responses)},
          {"from_memory", s.forwarder.answered_from_cache},
          {"joined", s.forwarder.joined},
          {"stale", s.forwarder.stale},
          {"prefetched", s.forwarder.prefetched},
          {"nxdomain_cut", s.cut.served},
          {"failed", s.forwarder.failures},
          {"waits", waits(s.waits)},
          {"tcp_connections", s.server.tcp_open}};
}

Json cache(const Scrape& s) {
  return {{"entries", s.cache.entries}, {"bytes", s.cache.bytes},   {"budget_bytes", s.cache_size.count},
          {"hits", s.cache.hits},       {"misses", s.cache.misses}, {"expired", s.cache.expired},
          {"evicted", s.cache.evicted}};
}

Json upstreams(const Scrape& s) {
  Json out = Json::array();
  for (const auto& [endpoint, view] : s.upstreams) {
    out.push_back({{"address", endpoint.to_string()},
                   {"healthy", view.healthy},
                   {"connections", view.connections},
                   {"median_ms", in_ms(static_cast<double>(view.median.count()))},
                   {"p99_ms", in_ms(static_cast<double>(view.p99.count()))}});
  }
  return out;
}

Json notice(const interrupt::Notice& notice, Instant now) {
  Json out = {{"kind", kind_name(notice.kind)},
              {"action", action_name(notice.action)},
              {"id", notice.id},
              {"source", notice.source},
              {"code", notice.code},
              {"deadline_assumed", notice.deadline_assumed},
              {"left_seconds", nullptr}};
  if (notice.deadline != kNever) out["left_seconds"] = in_seconds(notice.deadline - now);
  return out;
}

Json pod(const interrupt::Drain& drain, const interrupt::PodRecord& record) {
  const Instant noticed = drain.window().noticed;
  Json out = {{"namespace", record.pod.namespace_name},
              {"name", record.pod.name},
              {"controller", record.pod.controller_kind},
              {"fate", fate_name(record.fate)},
              {"by", nullptr},
              {"refused", record.refused},
              {"told_seconds", nullptr},
              {"gone_seconds", nullptr},
              {"grace_seconds", record.grace.count()},
              {"delete_at_seconds", nullptr},
              {"error", record.last_error}};
  if (record.fate == interrupt::Fate::Waiting || record.fate == interrupt::Fate::Refused) {
    out["delete_at_seconds"] = in_seconds(drain.last_safe(record) - noticed);
  }
  if (record.told) {
    out["by"] = fate_name(record.by);
    out["told_seconds"] = in_seconds(record.told_at - noticed);
  }
  if (record.fate == interrupt::Fate::Gone) out["gone_seconds"] = in_seconds(record.gone_at - noticed);
  return out;
}

Json drain(const interrupt::Drain& drain, Instant now) {
  const interrupt::Window& window = drain.window();
  std::vector<const interrupt::PodRecord*> records;
  for (const auto& [uid, record] : drain.pods())
    records.push_back(&record);
  std::ranges::sort(records, {}, [](const interrupt::PodRecord* record) {
    return std::tie(record->pod.namespace_name, record->pod.name);
  });
  Json pods = Json::array();
  for (const interrupt::PodRecord* record : records)
    pods.push_back(pod(drain, *record));
  Json cordoned_at = nullptr;
  if (const auto at = drain.cordoned_at()) cordoned_at = in_seconds(*at - window.noticed);
  return {{"active", drain.active(now)},
          {"cordoned", drain.cordoned()},
          {"cordoned_seconds", std::move(cordoned_at)},
          {"since_seconds", in_seconds(now - window.noticed)},
          {"window_seconds", in_seconds(window.deadline - window.noticed)},
          {"requests", drain.counters().requests},
          {"pods", std::move(pods)}};
}

Json interruption(const Scrape& s) {
  Json out = {{"source", nullptr}, {"last_success_seconds", nullptr}, {"notice", nullptr}, {"drain", nullptr}};
  if (s.source != nullptr) {
    out["source"] = s.source->name();
    if (const auto last = s.source->last_success()) out["last_success_seconds"] = in_seconds(s.now - *last);
  }
  if (s.notice != nullptr && s.notice->has_value()) out["notice"] = notice(**s.notice, s.now);
  if (s.drain != nullptr && !s.drain->saved().notice.id.empty()) out["drain"] = drain(*s.drain, s.now);
  return out;
}

}  // namespace

std::string status_json(const Scrape& s, bool ready) {
  return dump_json(
      {{"version", s.version},
       {"node", s.node},
       {"ready", ready},
       {"up_seconds", in_seconds(s.process.up)},
       {"memory", {{"resident_bytes", s.process.resident.count}, {"anonymous_bytes", s.process.anonymous.count}}},
       {"cpu_seconds", rounded(s.process.cpu_seconds)},
       {"loop_lag_p99_ms", in_ms(s.loop_lag.quantile(0.99))},
       {"dns", names(s)},
       {"cache", cache(s)},
       {"upstreams", upstreams(s)},
       {"takeover",
        {{"state", s.takeover_state}, {"renewed", s.server.lease_renewals}, {"unclaimed", s.server.lease_unclaimed}}},
       {"interruption", interruption(s)}});
}

}  // namespace lastlight::metrics
