// Pods with ndots:5 look for names of the internet: what of that reaches CoreDNS.
#include "tests/scenarios/dns/world.h"
#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;

namespace {

DnsConfig cluster_and_rest(NxdomainCut cut) {
  DnsConfig config;
  config.zones.resize(2);
  config.zones[0].name = "cluster.local";
  config.zones[0].max_negative_ttl = Seconds(5);
  config.zones[0].nxdomain_cut = cut;
  return config;
}

// shop and default are namespaces, web.shop a Service; the rest of the world exists.
std::optional<World::Reply> answer(ByteView query, Instant) {
  const std::string name = name_of(query);
  const bool cluster = name.ends_with("cluster.local");
  const bool there = !cluster || name == "web.shop.svc.cluster.local";
  const bool empty = name == "cluster.local" || name == "svc.cluster.local" || name == "shop.svc.cluster.local";
  if (there) {
    auto reply = reply_to(query);
    return World::Reply{(type_of(query) == kTypeA ? reply.a(30) : reply.soa(30, 30)).octets, Millis(1)};
  }
  // The SOA is owned by the question's name here, which the cut must refuse; so give it the zone's.
  const std::size_t zone = kHeaderSize + wire_name(name).size() - wire_name("cluster.local").size();
  auto reply = reply_to(query, empty ? kNoError : kNxDomain);
  ByteBuffer octets = reply.soa(30, 30).octets;
  store16(octets, kHeaderSize + wire_name(name).size() + 4, static_cast<std::uint16_t>(0xC000 | zone));
  return World::Reply{octets, Millis(1)};
}

struct Pass {
  std::uint64_t cluster = 0, all = 0;
  int wrong = 0;
};

Pass external_names(NxdomainCut cut) {
  World world(cluster_and_rest(cut), answer);
  Pass pass;
  const std::vector<std::string> search = {".shop.svc.cluster.local", ".svc.cluster.local", ".cluster.local", ""};
  for (int n = 0; n < 500; ++n) {
    const std::string name = "n" + std::to_string(n) + ".example" + (n % 2 == 0 ? ".com" : ".org");
    for (const std::string& suffix : search) {
      for (const std::uint16_t type : {kTypeA, kTypeAaaa}) {
        world.ask(edns_question(name + suffix, type), pod(1), [&](const World::Answer& got) {
          if (got.parsed.rcode() != (suffix.empty() ? kNoError : kNxDomain)) ++pass.wrong;
          if (!suffix.empty() && got.parsed.counts[2] != 1) ++pass.wrong;
        });
      }
      world.run_until(world.now + Millis(2));
    }
  }
  world.run_until(world.now + Seconds(1));
  CHECK(world.unanswered() == 0);
  for (const auto& [name, count] : world.asked_for) {
    pass.all += static_cast<std::uint64_t>(count);
    if (name.ends_with("cluster.local")) pass.cluster += static_cast<std::uint64_t>(count);
  }
  CHECK(world.forwarder.cut_counters().served ==
        (cut == NxdomainCut::Off ? 0 : 3000 - pass.cluster + world.forwarder.cut_counters().asked));
  return pass;
}

}  // namespace

TEST_CASE("500 names never seen, A and AAAA, three suffixes: at most 2% of the suffixed questions reach CoreDNS") {
  const Pass with = external_names(NxdomainCut::Auto);
  CHECK(with.wrong == 0);
  CHECK(with.cluster <= 60);
  CHECK(with.all <= 4000 * 26 / 100);
  const Pass without = external_names(NxdomainCut::Off);
  CHECK(without.wrong == 0);
  CHECK(without.all == 4000);
}

TEST_CASE("What exists is found after thousands of missing names around it, and what checks signatures is asked for") {
  World world(cluster_and_rest(NxdomainCut::Auto), answer);
  const auto ignore = [](const World::Answer&) {};
  for (int n = 0; n < 200; ++n) {
    for (const std::string suffix : {".shop.svc.cluster.local", ".cluster.local", ""}) {
      world.ask(edns_question("n" + std::to_string(n) + ".example.shop" + suffix), pod(1), ignore);
      world.run_until(world.now + Millis(5));
    }
  }
  CHECK(world.forwarder.cut_counters().served > 100);
  int found = 0;
  world.ask(edns_question("web.shop.svc.cluster.local"), pod(1),
            [&](const World::Answer& got) { found += got.parsed.counts[1]; });
  world.run_until(world.now + Millis(5));
  CHECK(found == 1);
  const auto asked = world.asked;
  world.ask(MessageBuilder(1, kRd).question("new.shop.cluster.local", kTypeA).opt(1232, kEdnsDo).octets, pod(1),
            ignore);
  world.ask(MessageBuilder(1, kRd | kCd).question("new.shop.cluster.local", kTypeA).octets, pod(1), ignore);
  CHECK(world.asked == asked + 2);
}
