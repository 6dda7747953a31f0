#include "metrics/scrape.h"

#include <algorithm>
#include <array>

#include "dnscache/presentation.h"
#include "metrics/families.h"

namespace lastlight::metrics {

namespace {

constexpr std::size_t kAlwaysShown = 5;  // NOERROR to REFUSED

double number(std::uint64_t value) {
  return static_cast<double>(value);
}

void dns_families(Families& f, const Scrape& s) {
  f.counter("dns_queries", "Queries read.", number(s.server.udp_queries), {{"protocol", "udp"}});
  f.counter("dns_queries", "", number(s.server.tcp_queries), {{"protocol", "tcp"}});
  f.counter("dns_answers", "Answers sent.", number(s.server.udp_answers), {{"protocol", "udp"}});
  f.counter("dns_answers", "", number(s.server.tcp_answers), {{"protocol", "tcp"}});
  std::uint16_t next = 0;
  for (const std::uint64_t responses : s.forwarder.rcodes) {
    const std::uint16_t rcode = next++;
    if (rcode > kAlwaysShown && responses == 0) continue;
    f.counter("dns_responses", "Responses written, by RCODE.", number(responses), {{"rcode", dns::rcode_text(rcode)}});
  }
  f.histogram("dns_wait", "What clients waited whose answer was not in memory.", s.waits);
  const char* refused = "Queries not forwarded, by what was answered.";
  f.counter("dns_refused", refused, number(s.forwarder.format_errors), {{"rcode", "FORMERR"}});
  f.counter("dns_refused", refused, number(s.forwarder.not_implemented), {{"rcode", "NOTIMP"}});
  f.counter("dns_refused", refused, number(s.forwarder.refused), {{"rcode", "REFUSED"}});
  f.counter("dns_refused", refused, number(s.forwarder.bad_version), {{"rcode", "BADVERS"}});
  f.counter("dns_oversize_queries", "UDP queries over 4,096 octets, whose rest is not read.",
            number(s.server.udp_oversize));
  const char* dropped = "Messages and answers dropped, by reason.";
  f.counter("dns_dropped", dropped, number(s.forwarder.dropped_short), {{"reason", "short"}});
  f.counter("dns_dropped", dropped, number(s.forwarder.dropped_response), {{"reason", "response"}});
  f.counter("dns_dropped", dropped, number(s.server.udp_unsent), {{"reason", "unsent"}});
  f.counter("dns_truncated_answers", "Answers sent with TC=1.", number(s.forwarder.truncated));
  const char* full = "Times a bound was reached: the query got an expired answer, SERVFAIL, or (client) REFUSED.";
  f.counter("dns_overload", full, number(s.forwarder.flights_full), {{"bound", "flights"}});
  f.counter("dns_overload", full, number(s.forwarder.waiters_full), {{"bound", "waiters"}});
  f.counter("dns_overload", full, number(s.forwarder.client_full), {{"bound", "client"}});
  f.counter("dns_stale_answers", "Expired answers sent (RFC 8767).", number(s.forwarder.stale));
  f.counter("dns_last_known_good", "NXDOMAIN and NODATA that did not replace an answer (last-known-good).",
            number(s.forwarder.last_known_good));
  f.counter("dns_prefetched", "Names in use asked again before they expired.", number(s.forwarder.prefetched));
  f.counter("dns_coalesced_queries", "Queries that joined one in flight.", number(s.forwarder.joined));
  for (const dns::ClientCount& each : s.top_clients) {
    f.gauge("dns_top_client_queries", "Queries of the five clients that ask most, at least.", number(each.queries),
            {{"client", each.client.to_string()}});
  }
  f.gauge("dns_receive_buffer_bytes", "Smallest UDP receive buffer the kernel granted.",
          number(s.receive_buffer.count));
  f.gauge("dns_tcp_buffered_bytes", "Unfinished messages and unread answers of client connections.",
          number(s.server.tcp_buffered));
  f.gauge("dns_tcp_connections", "Client connections open.", number(s.server.tcp_open));
  f.counter("dns_tcp_accepted", "Client connections accepted.", number(s.server.tcp_accepted));
  f.counter("dns_tcp_accept_rests", "Pauses in accepting for want of descriptors.", number(s.server.tcp_rests));
  const char* closed = "Client connections refused or closed by us, by reason.";
  f.counter("dns_tcp_closed", closed, number(s.server.tcp_refused_full), {{"reason", "full"}});
  f.counter("dns_tcp_closed", closed, number(s.server.tcp_refused_client), {{"reason", "client_full"}});
  f.counter("dns_tcp_closed", closed, number(s.server.tcp_malformed), {{"reason", "malformed"}});
  f.counter("dns_tcp_closed", closed, number(s.server.tcp_slow), {{"reason", "not_reading"}});
  f.counter("dns_tcp_closed", closed, number(s.server.tcp_stalled), {{"reason", "write_timeout"}});
  f.counter("dns_tcp_closed", closed, number(s.server.tcp_unfinished), {{"reason", "message_timeout"}});
  f.counter("dns_tcp_closed", closed, number(s.server.tcp_no_room), {{"reason", "buffers_full"}});
  f.counter("dns_tcp_closed", closed, number(s.server.tcp_idle), {{"reason", "idle"}});
}

void takeover_families(Families& f, const Scrape& s) {
  const char* state = "1 for the state of the takeover of the node's DNS.";
  for (const char* each : {"off", "raising", "held", "bypassed", "lost", "released", "standby"})
    f.gauge("takeover_state", state, s.takeover_state == each ? 1 : 0, {{"state", each}});
  f.counter("takeover_cut_connections",
            "Connections of clients that were open when the lease was lost or given back: at most these were reset.",
            number(s.takeover_cut_connections));
  const char* renewals = "Renewals of the takeover's lease, by outcome; unclaimed: no rule took it.";
  f.counter("takeover_lease_renewals", renewals, number(s.server.lease_renewals), {{"outcome", "renewed"}});
  f.counter("takeover_lease_renewals", "", number(s.server.lease_unclaimed), {{"outcome", "unclaimed"}});
  f.counter("takeover_lease_renewals", "", number(s.server.lease_failures), {{"outcome", "failed"}});
}

void cache_families(Families& f, const Scrape& s) {
  f.counter("cache_hits", "Questions answered from memory.", number(s.cache.hits));
  f.counter("cache_misses", "Questions not answered from memory.", number(s.cache.misses), {{"reason", "absent"}});
  f.counter("cache_misses", "", number(s.cache.expired), {{"reason", "expired"}});
  f.counter("cache_restored", "Answers taken over from the agent before this one.", number(s.cache.restored));
  f.counter("cache_evicted", "Answers evicted for want of room.", number(s.cache.evicted));
  f.counter("cache_cut_upstream_queries_avoided", "NXDOMAINs served from a missing name above (RFC 8020).",
            number(s.cut.served));
  f.counter("cache_cut_questions", "Questions asked to know that such a name is missing.", number(s.cut.asked));
  f.counter("cache_cut_dropped", "Times a name turned up below one taken for missing.", number(s.cut.dropped));
  f.gauge("cache_entries", "Answers held.", number(s.cache.entries));
  if (s.cache.entries > 0) {
    f.gauge("cache_entry_bytes", "What an answer takes on average: its octets, its key, bookkeeping, the allocator's.",
            number(s.cache.bytes) / number(s.cache.entries));
  }
  f.gauge("cache_size_bytes", "The most the answers may take: dns.cache-size, or what fits into memory.max.",
          number(s.cache_size.count));
  f.gauge("cache_used_bytes", "Memory charged to the answers held.", number(s.cache.bytes));
}

void config_families(Families& f, const Scrape& s) {
  const char* reloads = "Configurations read while running, by outcome.";
  f.counter("config_reloads", reloads, number(s.reload.applied), {{"result", "applied"}});
  f.counter("config_reloads", reloads, number(s.reload.rejected), {{"result", "rejected"}});
  f.gauge("config_rejected", "1 while the configuration in the files is not valid and an older one is in force.",
          s.reload.last_rejected ? 1 : 0);
  f.gauge("config_restart_needed_keys", "Keys whose change takes effect when the agent is started anew.",
          number(s.reload.restart_needed));
}

void upstream_families(Families& f, const Scrape& s) {
  f.counter("upstream_queries", "Queries sent upstream, retries included.", number(s.upstream.pool.attempts));
  f.counter("upstream_retries", "Attempts after a question's first.", number(s.upstream.pool.retries));
  f.counter("upstream_tcp_fallbacks", "Questions repeated over TCP after TC=1.", number(s.upstream.pool.tcp_fallbacks));
  const char* failed = "Attempts without an answer, by reason.";
  f.counter("upstream_failures", failed, number(s.upstream.pool.timeouts), {{"reason", "timeout"}});
  f.counter("upstream_failures", failed, number(s.upstream.pool.network_errors), {{"reason", "network"}});
  f.counter("upstream_failures", failed, number(s.forwarder.invalid_replies), {{"reason", "invalid"}});
  f.counter("upstream_failed_questions", "Questions that no upstream answered.", number(s.forwarder.failures));
  for (const auto& [endpoint, view] : s.upstreams) {
    const Labels upstream = {{"upstream", endpoint.to_string()}};
    f.gauge("upstream_healthy", "1 while the upstream answers.", view.healthy ? 1 : 0, upstream);
    f.gauge("upstream_in_order", "1 while it is taken to answer one connection strictly in order.",
            view.in_order ? 1 : 0, upstream);
    f.gauge("upstream_connections", "TCP connections to it.", number(view.connections), upstream);
    f.gauge("upstream_p99_seconds", "The learned 99th percentile of its answers' times.", seconds(view.p99), upstream);
  }
  f.gauge("upstreams_refused", "Upstreams not used because they are ourselves.", number(s.upstreams_refused));
  const dns::UpstreamPoolCounters& pool = s.upstream.pool;
  f.counter("upstream_hedges", "Attempts sent before an earlier one was given up.", number(pool.hedges));
  f.counter("upstream_hedges_refused", "Times that a hedge was due and not sent, for want of budget or pace.",
            number(pool.hedges_refused));
  f.counter("upstream_hedges_won", "Questions answered by another attempt than the first.", number(pool.hedges_won));
  f.counter("upstream_moved", "Questions asked again since another blocked their connection.", number(pool.moved));
  f.counter("upstream_udp_overflows", "Questions sent over UDP since no connection was free.",
            number(pool.udp_overflows));
  f.counter("upstream_unreachable", "Connections given up since they did not come about in time.",
            number(pool.unreachable));
  f.counter("upstream_late_replies", "Replies to questions that were over.", number(pool.late));
  f.counter("upstream_breaker_opened", "Times an upstream was given up.", number(pool.breaker_opened));
  f.counter("upstream_probes", "Questions that tried an upstream that was given up.", number(pool.probes));
  const char* waited = "Questions that had to wait, by what for.";
  f.counter("upstream_waited", waited, number(pool.waited), {{"reason", "upstream_down"}});
  f.counter("upstream_waited", waited, number(pool.paced), {{"reason", "pace"}});
  f.counter("upstream_shed", "Questions failed at once: too many waited, or the pace was too slow.", number(pool.shed));
  f.counter("upstream_guarded_packets", "Packets to guarded upstreams.", number(s.upstream.pace.packets));
  f.counter("upstream_linklocal_allowance_exceeded",
            "Packets to link-local addresses that the cloud dropped, by the driver; 0 where it does not count them.",
            number(s.linklocal_exceeded));
  f.gauge("upstream_waiting", "Questions in flight that wait.", number(s.upstream.waiting));
  f.gauge("upstream_channels", "Sockets towards upstreams.", number(s.upstream.channels));
  f.gauge("upstream_in_flight", "Questions in flight.", number(s.upstream.flights));
}

void source_families(Families& f, const Scrape& s) {
  const interrupt::SourceCounters& c = s.source->counters();
  const Labels source = {{"source", std::string(s.source->name())}};
  const auto with = [&](const char* label, const char* value) {
    Labels labels = source;
    labels.emplace_back(label, value);
    return labels;
  };
  f.counter("metadata_requests", "Requests to the metadata service.", number(c.requests), source);
  const char* polls = "Replies of the metadata service, by outcome.";
  f.counter("metadata_polls", polls, number(c.polls_ok), with("outcome", "ok"));
  f.counter("metadata_polls", polls, number(c.polls_failed), with("outcome", "failed"));
  const char* problems = "What was wrong with replies of the metadata service.";
  f.counter("metadata_problems", problems, number(c.silent), with("reason", "silent"));
  f.counter("metadata_problems", problems, number(c.unauthorized), with("reason", "unauthorized"));
  f.counter("metadata_problems", problems, number(c.unreadable), with("reason", "unreadable"));
  f.counter("metadata_problems", problems, number(c.out_of_range), with("reason", "out_of_range"));
  f.counter("metadata_problems", problems, number(c.token_failures), with("reason", "token"));
  f.counter("metadata_problems", problems, number(c.over_bound), with("reason", "over_bound"));
  f.counter("metadata_others_events", "Events that do not name this machine.", number(c.others), source);
  if (const auto last = s.source->last_success()) {
    f.gauge("metadata_last_success_age_seconds", "Since the metadata service last answered.", seconds(s.now - *last),
            source);
  }
}

void hook_families(Families& f, const Scrape& s) {
  const char* told = "Events told to webhooks and commands, by what became of them.";
  for (std::size_t i = 0; i < s.hooks->receivers().size(); ++i) {
    const std::string& name = s.hooks->receivers()[i].name;
    const interrupt::OutboxCounters& c = s.hooks->counters(i);
    f.counter("hook_events", told, number(c.delivered), {{"receiver", name}, {"outcome", "delivered"}});
    f.counter("hook_events", told, number(c.refused), {{"receiver", name}, {"outcome", "refused"}});
    f.counter("hook_events", told, number(c.expired), {{"receiver", name}, {"outcome", "expired"}});
    f.counter("hook_events", told, number(c.lost), {{"receiver", name}, {"outcome", "lost"}});
    f.counter("hook_failed_tries", "Deliveries that failed; most are tried again.", number(c.failed_tries),
              {{"receiver", name}});
  }
}

void notice_endpoint_families(Families& f, const Scrape& s) {
  const interrupt::NoticeBoardCounters& c = *s.notice_endpoint;
  f.counter("notice_endpoint_requests", "Requests to the notice endpoint.", number(c.requests));
  f.counter("notice_endpoint_told", "Waiting requests answered because something changed.", number(c.told));
  const char* refused = "Requests refused because too many wait, by bound.";
  f.counter("notice_endpoint_refused", refused, number(c.refused_full), {{"bound", "all"}});
  f.counter("notice_endpoint_refused", refused, number(c.refused_client), {{"bound", "client"}});
  f.gauge("notice_endpoint_waiters", "Requests that wait for a change.", number(c.waiters));
}

void interruption_families(Families& f, const Scrape& s) {
  const bool active = s.notice != nullptr && s.notice->has_value();
  f.gauge("interruption_active", "1 while a notice stands.", active ? 1 : 0);
  if (active) {
    const interrupt::Notice& notice = **s.notice;
    const Labels kind = {{"kind", std::string(kind_name(notice.kind))}};
    if (notice.deadline != kNever) {
      f.gauge("interruption_left_seconds", "Until what the notice announces.", seconds(notice.deadline - s.now), kind);
    }
    if (notice.unseen) {
      f.gauge("interruption_detection_delay_seconds",
              "Between the last request whose reply had no notice and the first with one: an upper bound.",
              seconds(notice.heard - *notice.unseen), kind);
    }
  }
  if (s.policy == nullptr) return;
  const interrupt::PolicyCounters& c = s.policy->counters();
  for (std::size_t i = 0; i < interrupt::kNoticeKinds; ++i) {
    f.counter("interruption_notices", "Notices heard, by kind.", number(c.notices.at(i)),
              {{"kind", std::string(kind_name(static_cast<interrupt::NoticeKind>(i)))}});
  }
  const char* unheeded = "Notices that nothing was done about, by reason.";
  f.counter("interruption_notices_unheeded", unheeded, number(c.ignored), {{"reason", "ignored"}});
  f.counter("interruption_notices_unheeded", unheeded, number(c.limited), {{"reason", "limited"}});
  f.counter("interruption_notices_unheeded", unheeded, number(c.over_bound), {{"reason", "over_bound"}});
}

// Of the pods that were told to stop: how they ended, or that they have not.
const char* outcome_of(const interrupt::PodRecord& record) {
  const bool ended = record.fate == interrupt::Fate::Gone || record.fate == interrupt::Fate::Stays;
  if (!ended) return "running";
  return record.by == interrupt::Fate::Deleted ? "deleted" : "in_grace";
}

void drain_outcome_families(Families& f, const interrupt::Drain& drain) {
  std::map<std::string, std::uint64_t> told = {{"in_grace", 0}, {"deleted", 0}, {"running", 0}};
  Instant last = drain.window().noticed;
  for (const auto& [uid, record] : drain.pods()) {
    if (!record.told) continue;
    ++told[outcome_of(record)];
    last = std::max(last, record.told_at);
  }
  for (const auto& [outcome, count] : told) {
    f.gauge("drain_told_pods",
            "Pods that were told to stop, by what became of them; at the node's end nothing changes.", number(count),
            {{"outcome", outcome}});
  }
  f.gauge("drain_untold_pods", "Pods not told to stop yet; what is left at the node's end never was.",
          number(drain.outcome().never_told));
  f.gauge("drain_last_told_seconds", "From the notice to the latest pod that was told to stop.",
          seconds(last - drain.window().noticed));
  const Instant cordoned = drain.cordoned_at().value_or(drain.window().noticed);
  f.gauge("drain_detect_to_cordon_seconds", "From the notice to the granted cordon; 0 until then.",
          seconds(cordoned - drain.window().noticed));
}

void drain_families(Families& f, const Scrape& s) {
  std::array<std::uint64_t, interrupt::kFates> counts{};
  for (const auto& [uid, record] : s.drain->pods())
    ++counts.at(static_cast<std::size_t>(record.fate));
  for (std::size_t fate = 0; fate < counts.size(); ++fate) {
    f.gauge("drain_pods", "Pods of this node in the present drain, by fate.", number(counts.at(fate)),
            {{"fate", std::string(fate_name(static_cast<interrupt::Fate>(fate)))}});
  }
  f.gauge("drain_cordoned", "1 once this node was cordoned.", s.drain->cordoned() ? 1 : 0);
  f.counter("drain_requests", "Requests to the API server.", number(s.drain->counters().requests));
  f.counter("drain_evictions_refused", "Evictions a disruption budget refused.",
            number(s.drain->counters().evictions_refused));
  f.counter("drain_transient_errors", "API errors that were retried.", number(s.drain->counters().transient_errors));
}

}  // namespace

std::string render(const Scrape& s) {
  Families f;
  f.build_info(s.version);
  f.histogram("loop_lag", "How late a timer of the event loop fired.", s.loop_lag);
  f.gauge("process_resident_bytes", "Resident memory of the worker.", number(s.process.resident.count));
  f.gauge("process_anonymous_bytes", "Of it, what no file backs.", number(s.process.anonymous.count));
  f.counter("process_cpu_seconds", "User and system time of the worker.", s.process.cpu_seconds);
  f.gauge("process_open_fds", "Open descriptors of the worker.", number(s.process.open_fds));
  dns_families(f, s);
  cache_families(f, s);
  config_families(f, s);
  upstream_families(f, s);
  takeover_families(f, s);
  if (s.source != nullptr) source_families(f, s);
  interruption_families(f, s);
  if (s.notice_endpoint != nullptr) notice_endpoint_families(f, s);
  if (s.hooks != nullptr) hook_families(f, s);
  if (s.drain != nullptr) {
    drain_families(f, s);
    drain_outcome_families(f, *s.drain);
  }
  if (s.self_check != nullptr && s.self_check->finished()) {
    f.gauge("drain_self_check_ok", "1 if the API server would permit a drain, as last checked.",
            s.self_check->missing().empty() ? 1 : 0);
    f.gauge("drain_self_check_age_seconds", "Since that check; hourly.", seconds(s.now - *s.self_check->finished()));
  }
  return f.render();
}

}  // namespace lastlight::metrics
