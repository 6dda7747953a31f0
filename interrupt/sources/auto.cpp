#include "interrupt/sources/auto.h"

#include <algorithm>
#include <array>
#include <utility>

#include "interrupt/sources/make.h"

namespace lastlight::interrupt {
namespace {

using namespace std::chrono_literals;
using Cloud = InterruptionConfig::Source;

constexpr Duration kFirstPause = 1s;
constexpr Duration kLongestPause = 5min;

bool says_google(const HttpReply& reply) {
  return reply.header("Metadata-Flavor") == "Google";
}
bool says_azure(const HttpReply& reply) {
  return reply.status == 200 && reply.body.starts_with("Azure") && reply.body.size() < 64;
}
bool grants_token(const HttpReply& reply) {
  return reply.status == 200 && !reply.header("X-aws-ec2-metadata-token-ttl-seconds").empty();
}
// Where the token's reply is lost on its way. Others serve EC2's paths too, but not as this server.
bool says_ec2(const HttpReply& reply) {
  return (reply.status == 200 || reply.status == 401) && reply.header("Server").starts_with("EC2ws");
}

struct Probe {
  Cloud cloud;
  std::string_view name;
  std::string_view method;
  std::string_view endpoint;  // where the configuration names none
  std::string_view path;
  HttpHeader header;
  bool (*recognises)(const HttpReply&);
};

const std::array<Probe, 5>& probes() {
  static constexpr std::string_view kV4 = "http://169.254.169.254", kV6 = "http://[fd00:ec2::254]";
  static constexpr std::string_view kToken = "/latest/api/token";
  static const HttpHeader ttl{"X-aws-ec2-metadata-token-ttl-seconds", "60"};
  static const std::array<Probe, 5> all = {
      Probe{
          Cloud::Gcp, "gcp", "GET", kV4, "/computeMetadata/v1/instance/id", {"Metadata-Flavor", "Google"}, says_google},
      Probe{Cloud::Azure,
            "azure",
            "GET",
            kV4,
            "/metadata/instance/compute/azEnvironment?api-version=2021-02-01&format=text",
            {"Metadata", "true"},
            says_azure},
      Probe{Cloud::Aws, "aws", "PUT", kV4, kToken, ttl, grants_token},
      Probe{Cloud::Aws, "aws without token", "GET", kV4, "/latest/meta-data/instance-id", {"Accept", "*/*"}, says_ec2},
      Probe{Cloud::Aws, "aws over IPv6", "PUT", kV6, kToken, ttl, grants_token}};
  return all;
}

std::string describe(const HttpReply& reply, bool recognised) {
  if (recognised) return "recognised";
  if (reply.status == 0) return reply.error.empty() ? "no reply" : reply.error;
  return "status " + std::to_string(reply.status);
}

}  // namespace

AutoSource::AutoSource(const InterruptionConfig& config, Uniform uniform)
    : config_(config), uniform_(std::move(uniform)) {}

SourceStep AutoSource::next(Instant now) {
  if (chosen_) return chosen_->next(now);
  if (in_flight_) return {};
  if (now < due_) return {.send = {}, .wake = due_};
  const Probe& probe = probes()[probe_];
  const std::string_view endpoint = config_.metadata_url.empty() ? probe.endpoint : config_.metadata_url;
  HttpRequest request = metadata_request(config_, std::string(endpoint) + std::string(probe.path));
  request.method = probe.method;
  request.headers = {probe.header};
  in_flight_ = true;
  ++counters_.requests;
  SourceStep step;
  step.send.push_back({0, std::move(request)});
  return step;
}

SourceEvents AutoSource::on_reply(unsigned lane, const HttpReply& reply, Instant sent, Instant now) {
  if (chosen_) return chosen_->on_reply(lane, reply, sent, now);
  in_flight_ = false;
  const Probe& probe = probes()[probe_];
  const bool recognised = probe.recognises(reply);
  if (recognised && recognised_ == Cloud::None) recognised_ = probe.cloud;
  ++(recognised ? counters_.polls_ok : counters_.polls_failed);
  why_ += (why_.empty() ? "" : "; ") + std::string(probe.name) + ": " + describe(reply, recognised).substr(0, 120);
  SourceEvents out;
  if (++probe_ == probes().size()) end_round(now, out);
  return out;
}

void AutoSource::end_round(Instant now, SourceEvents& out) {
  probe_ = 0;
  std::string why = std::exchange(why_, {});
  if (recognised_ == Cloud::None) {
    due_ = now + backoff(kFirstPause, kLongestPause, ++rounds_, uniform_());
    if (rounds_ == 1) out.emplace_back(Found{.source = "none", .why = std::move(why)});
    return;
  }
  InterruptionConfig named = config_;
  named.source = recognised_;
  chosen_ = make_source(named, std::move(uniform_));
  chosen_->count_from(counters_);
  out.emplace_back(Found{.source = std::string(chosen_->name()), .why = std::move(why)});
}

void AutoSource::may_start(std::string_view id) {
  if (chosen_) chosen_->may_start(id);
}

}  // namespace lastlight::interrupt
