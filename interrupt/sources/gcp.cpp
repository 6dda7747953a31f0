#include "interrupt/sources/gcp.h"

#include <algorithm>
#include <utility>

namespace lastlight::interrupt {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kPreempted = 0;

// Sent back in a URL: nothing but what an ETag of this server is made of.
bool etag_is_sane(std::string_view etag) {
  return !etag.empty() && etag.size() <= 128 && std::ranges::all_of(etag, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.remove_suffix(1);
  return text;
}

}  // namespace

GcpSource::GcpSource(const InterruptionConfig& config, Uniform uniform)
    : config_(config),
      uniform_(std::move(uniform)),
      endpoint_(config.metadata_url.empty() ? "http://169.254.169.254" : config.metadata_url),
      values_{Value{.path = "preempted", .lane = Lane(config_, uniform_)},
              Value{.path = "maintenance-event", .lane = Lane(config_, uniform_)}} {}

HttpRequest GcpSource::request(const Value& value) const {
  std::string url = endpoint_ + "/computeMetadata/v1/instance/" + std::string(value.path);
  const auto hang = std::chrono::ceil<std::chrono::seconds>(config_.gcp_hang);
  if (!value.etag.empty()) {
    url += "?wait_for_change=true&timeout_sec=" + std::to_string(hang.count()) + "&last_etag=" + value.etag;
  }
  HttpRequest out = metadata_request(config_, std::move(url));
  out.headers = {{"Metadata-Flavor", "Google"}};
  if (!value.etag.empty()) out.timeout += hang;
  return out;
}

SourceStep GcpSource::next(Instant now) {
  SourceStep step;
  for (unsigned lane = 0; lane < values_.size(); ++lane) {
    Value& value = values_[lane];
    if (value.lane.ready(now)) {
      value.lane.sent(now);
      ++counters_.requests;
      step.send.push_back({lane, request(value)});
    }
    step.wake = std::min(step.wake, value.lane.due());
  }
  return step;
}

SourceEvents GcpSource::on_reply(unsigned lane, const HttpReply& reply, Instant sent, Instant now) {
  SourceEvents out;
  Value& value = values_.at(lane);
  value.lane.replied();
  if (reply.status != 200 || !read(value, reply, sent, now, out)) {
    value.announced.unsure();
    value.etag.clear();  // what was missed meanwhile is asked for, not waited for
    if (reply.status == 0) ++counters_.silent;
    if (reply.status == 200) ++counters_.unreadable;
    if (reply.status == 403) diagnosis_ = Diagnosis::Disabled;
    ++counters_.polls_failed;
    value.lane.failed(now);
    return out;
  }
  ++counters_.polls_ok;
  last_success_ = now;
  diagnosis_ = Diagnosis::None;
  // A server that does not wait, or gives no ETag, is asked once a poll; one that waited is asked again at once.
  const std::string_view etag = reply.header("ETag");
  const bool changed = etag != value.etag;
  value.etag = etag_is_sane(etag) && !value.announced.doubted() ? etag : "";
  const bool waited = changed || now - sent >= config_.poll;
  value.lane.succeeded(now, waited && !value.etag.empty() ? 0s : Duration(config_.poll));
  return out;
}

bool GcpSource::read(Value& value, const HttpReply& reply, Instant sent, Instant now, SourceEvents& out) {
  // Whoever is not this server (a captive portal, another cloud) does not say so.
  if (reply.header("Metadata-Flavor") != "Google") return false;
  const std::string text(trimmed(reply.body));
  const bool preempted = &value == &values_[kPreempted];
  if (preempted ? text != "TRUE" && text != "FALSE"
                : text != "NONE" && text != "MIGRATE_ON_HOST_MAINTENANCE" && text != "TERMINATE_ON_HOST_MAINTENANCE") {
    return false;
  }
  std::vector<Announced::Present> present;
  if (text == "TRUE") {
    present.push_back({.notice = {.kind = NoticeKind::Preempt,
                                  .action = NoticeAction::Terminate,
                                  .deadline = now + config_.gcp_preemption_window,
                                  .id = "gcp-preempted",
                                  .source = "gcp",
                                  .deadline_assumed = true,
                                  .code = "preempted"}});
  } else if (text != "FALSE" && text != "NONE") {
    const bool migrates = text.starts_with("MIGRATE");
    present.push_back({.notice = {.kind = migrates ? NoticeKind::LiveMigration : NoticeKind::Maintenance,
                                  .action = migrates ? NoticeAction::Pause : NoticeAction::Terminate,
                                  .deadline = now + config_.gcp_maintenance_window,
                                  .id = "gcp-maintenance-" + text,
                                  .source = "gcp",
                                  .deadline_assumed = true,
                                  .code = text}});
  }
  value.announced.saw(std::move(present), sent, now, out, counters_);
  return true;
}

}  // namespace lastlight::interrupt
