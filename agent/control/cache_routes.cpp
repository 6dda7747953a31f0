#include "agent/control/cache_routes.h"

#include <charconv>
#include <string>
#include <utility>

#include "dnscache/presentation.h"
#include "dnscache/wire.h"

namespace lastlight {

namespace {

using dns::Forwarder;

constexpr std::size_t kMost = 1000;

Json summary(const Forwarder::Kept& kept) {
  return {{"name", kept.name},
          {"type", dns::type_text(kept.type)},
          {"zone", kept.zone},
          {"rcode", dns::rcode_text(kept.rcode)},
          {"hits", kept.hits}};
}

Json records(const Forwarder::Kept& kept, std::size_t section) {
  Json out = Json::array();
  for (const dns::RecordText& record : dns::record_texts(kept.message, section, kept.age))
    out.push_back({{"name", record.name}, {"type", record.type}, {"ttl", record.ttl}, {"data", record.data}});
  return out;
}

Json in_full(const Forwarder::Kept& kept) {
  Json out = summary(kept);
  out["age"] = kept.age;
  out["ttlLeft"] = std::chrono::floor<std::chrono::seconds>(kept.left).count();
  out["stale"] = kept.left <= Duration{0};
  out["failure"] = kept.failure;
  out["upstream"] = kept.from ? Json(kept.from->to_string()) : Json();
  out["asked"] = {{"do", kept.dnssec_ok}, {"cd", kept.checking_disabled}, {"rd", kept.recursion_desired}};
  out["answer"] = records(kept, 1);
  out["authority"] = records(kept, 2);
  return out;
}

HttpReply entry(const Forwarder& forwarder, Instant now, const http::Call& call) {
  const std::string name(call.parameter("name"));
  const std::string_view given = call.parameter("type");
  const auto type = given.empty() ? std::uint16_t{dns::kTypeA} : dns::parse_type(given);
  if (!dns::Name::parse(name)) return http::error_reply(400, "not a domain name: '" + name + "'");
  if (!type) return http::error_reply(400, "not a type: '" + std::string(given) + "'");
  Json entries = Json::array();
  for (const Forwarder::Kept& kept : forwarder.look_up(name, *type, now))
    entries.push_back(in_full(kept));
  return http::json_reply({{"entries", std::move(entries)}});
}

HttpReply flush(Forwarder& forwarder, const http::Call& call) {
  const std::string name(call.parameter("name"));
  std::string zone(call.parameter("zone"));
  if (!call.parameter("all").empty()) zone = ".";
  const std::string& what = zone.empty() ? name : zone;
  if (!dns::Name::parse(what)) return http::error_reply(400, "not a domain name: '" + what + "'");
  const std::size_t count = forwarder.flush(what, zone.empty() ? Forwarder::Flush::Name : Forwarder::Flush::Zone);
  return http::json_reply({{"forgotten", count}});
}

HttpReply top(const Forwarder& forwarder, const http::Call& call) {
  std::size_t most = 10;
  const std::string given(call.parameter("most"));
  const char* const end = given.c_str() + given.size();
  if (!given.empty() && (std::from_chars(given.c_str(), end, most).ptr != end || most == 0 || most > kMost))
    return http::error_reply(400, "most is a number from 1 to " + std::to_string(kMost));
  const auto list = [&](Forwarder::Top what) {
    Json out = Json::array();
    for (const Forwarder::NameCount& each : forwarder.top(what, most))
      out.push_back(
          {{"name", each.name}, {"type", dns::type_text(each.type)}, {"zone", each.zone}, {"queries", each.queries}});
    return out;
  };
  Json clients = Json::array();
  for (const dns::ClientCount& each : forwarder.top_clients(most))
    clients.push_back({{"address", each.client.to_string()}, {"queries", each.queries}});
  return http::json_reply({{"names", list(Forwarder::Top::Names)},
                           {"missing", list(Forwarder::Top::Missing)},
                           {"clients", std::move(clients)}});
}

}  // namespace

void add_cache_routes(http::RouteTable& routes, dns::Forwarder& forwarder, const std::function<Instant()>& now) {
  routes.add("GET", "/cache/entry",
             [&forwarder, now](const http::Call& call) { return entry(forwarder, now(), call); });
  routes.add("POST", "/cache/flush", [&forwarder](const http::Call& call) { return flush(forwarder, call); });
  routes.add("GET", "/cache/top", [&forwarder](const http::Call& call) { return top(forwarder, call); });
}

}  // namespace lastlight
