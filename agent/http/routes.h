// What the agent answers over HTTP, as pure functions of plain facts: /metrics (Prometheus text), /healthz (the loop
// turns, or nobody would answer), /readyz (our sockets are bound and a query to ourselves was answered). The upstreams'
// state stands in the body of /readyz but does not decide it: a CoreDNS outage must not make every agent of a cluster
// NotReady. / is one page without outside assets, which shows what /status says; both are read-only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/http.h"
#include "agent/base/time.h"

namespace lastlight::http {

struct Readiness {
  bool serves_dns = true;  // else only that the loop turns
  bool sockets_bound = false;
  std::optional<Duration> self_answer_age;  // since a query to ourselves was last answered; absent: never
  Duration self_answer_limit{};             // older than this is not ready
  struct Upstream {
    std::string name;
    bool healthy = false;
  };
  std::vector<Upstream> upstreams;

  bool ready() const {
    return !serves_dns || (sockets_bound && self_answer_age && *self_answer_age <= self_answer_limit);
  }
};

struct Sources {
  std::function<std::string()> metrics;
  std::function<Readiness()> readiness;
  std::function<std::string()> status;  // metrics/status.h
};

// On the node's address, for Prometheus and probes.
HttpReply route(const HttpRequest& request, const Sources& sources);
// On loopback, for people: the page, and the document it reads.
HttpReply status_route(const HttpRequest& request, const Sources& sources);

}  // namespace lastlight::http
