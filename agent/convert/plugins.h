// CoreDNS's plugins that no key here stands for: those that are not needed, and those that are lost, and why.
#pragma once

#include <array>
#include <string_view>

namespace lastlight::convert {

struct Plugin {
  std::string_view name;
  bool lost;
  std::string_view why;
};
inline constexpr std::array<Plugin, 24> kPlugins{{
    {"errors", false, ""},  // nothing is lost and nothing need be known
    {"reload", false, ""},
    {"loop", false, ""},
    {"loadbalance", false, ""},
    {"health", false, "/healthz and /readyz are on http.listen"},
    {"ready", false, "/readyz is on http.listen"},
    {"timeouts", false,
     "dns.tcp-idle-timeout, dns.tcp-message-timeout and dns.tcp-write-timeout have limits of their own"},
    {"debug", false, "log.level: debug"},
    {"log", true, "queries are not logged; metrics count them"},
    {"nsid", true, "no server identifier is sent"},
    {"hosts", true, "names are not answered from a file; give them a zone whose upstream knows them"},
    {"file", true, "zones are not served from files; give the zone an upstream that does"},
    {"template", true, "answers are not made up; give the zone an upstream that does"},
    {"rewrite", true, "names are not rewritten; do it in CoreDNS"},
    {"dns64", true, "addresses are not made up; do it in CoreDNS"},
    {"acl", true, "clients are not told apart; use a NetworkPolicy"},
    {"any", true, "ANY is forwarded"},
    {"autopath", true, "search paths are answered by nxdomain-cut instead"},
    {"kubernetes", true, "is CoreDNS's work; this agent stands before it"},
    {"trace", true, "there is no tracing"},
    {"dnstap", true, "there is no dnstap"},
    {"pprof", true, "there is no profiler"},
    {"whoami", true, "there is no such answer"},
    {"minimal", false, "answers are passed on as they came"},
}};

}  // namespace lastlight::convert
