#include "agent/control/cache_routes.h"

#include "agent/cli/cache.h"

#include "tests/scenarios/dns/world.h"
#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns::test;
using cli::CacheCommand;

namespace {

DnsConfig config() {
  DnsConfig out;
  out.zones = default_zones("cluster.local");
  return out;
}

// Two names are there, all others are not; and what the routes say of it.
struct Asked {
  Asked() : world(config(), answer) {
    add_cache_routes(routes, world.forwarder, [this] { return world.now; });
  }
  static std::optional<World::Reply> answer(ByteView query, Instant) {
    const bool there = name_of(query) == "web.shop.svc.cluster.local" || name_of(query) == "www.example.com";
    auto reply = reply_to(query, there ? dns::kNoError : dns::kNxDomain);
    if (there) reply.a(30);
    if (!there) reply.soa(30, 30);
    return World::Reply{reply.octets, Millis(1), Endpoint::parse("10.96.0.11:53", 53)};
  }
  void ask(const std::string& name, int times = 1, std::uint32_t client = 1) {
    for (int i = 0; i < times; ++i) {
      world.ask(edns_question(name), pod(client), [](const World::Answer&) {});
      world.run_until(world.now + Millis(2));
    }
  }
  Json call(const std::string& method, const std::string& target, int status = 200) {
    const HttpReply reply = routes.answer({.method = method, .url = target});
    CHECK(reply.status == status);
    return parse_json(reply.body).value();
  }
  World world;
  http::RouteTable routes;
};

}  // namespace

TEST_CASE("an answer explains itself") {
  Asked asked;
  asked.ask("web.shop.svc.cluster.local", 3);
  asked.world.run_until(asked.world.now + Seconds(10));
  const Json document = asked.call("GET", "/cache/entry?name=WEB.shop.svc.cluster.local.&type=a");
  REQUIRE(array_at(document, "entries").size() == 1);
  const Json& entry = array_at(document, "entries")[0];
  CHECK(string_at(entry, "zone") == "cluster.local");
  CHECK(string_at(entry, "rcode") == "NOERROR");
  CHECK(string_at(entry, "upstream") == "10.96.0.11:53");
  CHECK(int_at(entry, "age") == 10);
  CHECK(int_at(entry, "ttlLeft") == 19);
  CHECK(int_at(entry, "hits") == 2);
  CHECK_FALSE(bool_at(entry, "stale"));
  CHECK(bool_at(entry, "asked", "rd"));
  CHECK_FALSE(bool_at(entry, "asked", "do"));
  CHECK(string_at(array_at(entry, "answer").at(0), "data") == "192.0.2.1");
  CHECK(int_at(array_at(entry, "answer").at(0), "ttl") == 20);
  asked.world.run_until(asked.world.now + Seconds(60));
  const Json later = asked.call("GET", "/cache/entry?name=web.shop.svc.cluster.local");
  CHECK(bool_at(array_at(later, "entries").at(0), "stale"));
  const std::string text = cli::cache_text({.verb = CacheCommand::Verb::Get, .name = {}}, later);
  CHECK(text ==
        "web.shop.svc.cluster.local A: NOERROR\n  zone      cluster.local\n  age       70 s\n"
        "  ttl left  none: stale for 41 s\n  hits      2\n  upstream  10.96.0.11:53\n"
        "  web.shop.svc.cluster.local 0 A 192.0.2.1\n");
}

TEST_CASE("what is asked most, by whom, and what is missing") {
  Asked asked;
  asked.ask("web.shop.svc.cluster.local", 5);
  asked.ask("none.test", 4, 2);
  const Json top = asked.call("GET", "/cache/top?most=1");
  REQUIRE(array_at(top, "names").size() == 1);
  CHECK(string_at(array_at(top, "names")[0], "name") == "web.shop.svc.cluster.local");
  CHECK(int_at(array_at(top, "names")[0], "queries") == 5);
  CHECK(string_at(array_at(top, "missing").at(0), "name") == "none.test");
  CHECK(string_at(array_at(top, "clients").at(0), "address") == "10.0.0.1");
  CHECK(int_at(array_at(top, "clients").at(0), "queries") == 5);
  const std::string text = cli::cache_text({.verb = CacheCommand::Verb::Top, .name = {}}, top);
  CHECK(text.find("         5  web.shop.svc.cluster.local A\n") != std::string::npos);
  CHECK(text.find("         4  none.test A\n") != std::string::npos);
  CHECK(text.find("         5  10.0.0.1\n") != std::string::npos);
}

TEST_CASE("a name, a zone or everything is forgotten, conclusions included") {
  Asked asked;
  for (const auto* name : {"web.shop.svc.cluster.local", "www.example.com", "a.example.com.svc.cluster.local",
                           "b.example.com.svc.cluster.local"})
    asked.ask(name);
  asked.world.run_until(asked.world.now + Seconds(1));
  // Two missing names below `com` answer for a third: nobody is asked.
  auto questions = asked.world.asked;
  asked.ask("c.example.com.svc.cluster.local");
  CHECK(asked.world.asked == questions);
  CHECK(int_at(asked.call("POST", "/cache/flush?name=web.shop.svc.cluster.local"), "forgotten") == 1);
  CHECK(int_at(asked.call("POST", "/cache/flush?zone=com.svc.cluster.local"), "forgotten").value_or(0) >= 2);
  asked.ask("d.example.com.svc.cluster.local");
  CHECK(asked.world.asked > questions);
  CHECK(int_at(asked.call("POST", "/cache/flush?all=1"), "forgotten").value_or(0) >= 2);
  CHECK(asked.world.forwarder.cache_counters().entries == 0);
}

TEST_CASE("what is no name, no type or no number is refused") {
  Asked asked;
  asked.call("GET", "/cache/entry?name=a..b", 400);
  asked.call("GET", "/cache/entry", 400);
  asked.call("GET", "/cache/entry?name=a&type=QQ", 400);
  asked.call("POST", "/cache/flush", 400);
  asked.call("GET", "/cache/top?most=0", 400);
  asked.call("GET", "/cache/top?most=9x", 400);
  CHECK(array_at(asked.call("GET", "/cache/entry?name=a"), "entries").empty());
}
