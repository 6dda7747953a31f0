#include "dnscache/cut.h"

#include <map>
#include <set>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/random.h"
#include "tests/unit/dnscache/messages.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;
using Seconds = std::chrono::seconds;

namespace {

constexpr Duration kNegative = Seconds(5);
const std::string kZone = "cluster.local";

Name name_in_wire(const std::string& text) {
  return Name::parse(text).value();
}

Prepared nxdomain_for(const std::string& name) {
  const auto reply = MessageBuilder(0, kQr | kRa | kNxDomain).question(name, kTypeA).octets;
  auto with_soa = reply;
  // cluster.local. SOA: the owner points into the question.
  const std::size_t zone = kHeaderSize + wire_name(name).size() - wire_name(kZone).size();
  store16(with_soa, 8, 1);
  put16(with_soa, static_cast<std::uint16_t>(0xC000 | zone));
  put16(with_soa, kTypeSoa);
  put16(with_soa, kClassIn);
  put32(with_soa, 30);
  ByteBuffer rdata{2, 'n', 's', 3, 'd', 'n', 's'};
  put16(rdata, static_cast<std::uint16_t>(0xC000 | zone));
  rdata.push_back(1);
  rdata.push_back('h');
  put16(rdata, static_cast<std::uint16_t>(0xC000 | zone));
  for (int i = 0; i < 4; ++i)
    put32(rdata, 7);
  put32(rdata, 30);
  put16(with_soa, static_cast<std::uint16_t>(rdata.size()));
  with_soa.insert(with_soa.end(), rdata.begin(), rdata.end());
  const Name wire = name_in_wire(name);
  ByteBuffer question(wire.view().begin(), wire.view().end());
  put16(question, kTypeA);
  put16(question, kClassIn);
  return prepare_answer(with_soa, question, {.min_ttl = {}, .max_ttl = Seconds(3600), .max_negative_ttl = kNegative})
      .value();
}

struct Rig {
  explicit Rig(std::vector<std::string> zones = {"cluster.local", "."}) : cut(name_in_wire(kZone), wire(zones), 7) {}
  static std::vector<Name> wire(const std::vector<std::string>& zones) {
    std::vector<Name> out;
    for (const auto& zone : zones)
      out.push_back(name_in_wire(zone));
    return out;
  }
  bool denies(const std::string& name, std::uint16_t type = kTypeA) {
    return cut.denies(name_in_wire(name).view(), type, now).has_value();
  }
  void missing(const std::string& name, std::uint16_t type = kTypeA) {
    cut.missing(name_in_wire(name).view(), type, nxdomain_for(name), now);
  }
  void exists(const std::string& name) { cut.exists(name_in_wire(name).view(), now); }
  // Two names and the point: armed if it can be.
  void arm(const std::string& point) {
    missing("one." + point);
    missing("two.x." + point);
    if (const auto ask = cut.next_ask()) {
      CHECK(std::ranges::equal(*ask, name_in_wire(point).view()));
      missing(point);
    }
  }

  Cut cut;
  Instant now{std::chrono::hours(1)};
};

}  // namespace

TEST_CASE("RFC 8020: two missing names and the missing point deny what is below it, for the negative TTL") {
  for (const std::string point : {"com.cluster.local", "com.svc.cluster.local", "com.shop.svc.cluster.local"}) {
    Rig rig;
    rig.cut.exists_elsewhere(name_in_wire("www.example.com").view(), rig.now);
    rig.missing("api.example." + point);
    CHECK_FALSE(rig.cut.next_ask());
    rig.missing("api.example." + point, kTypeAaaa);  // the same name
    CHECK_FALSE(rig.cut.next_ask());
    rig.missing("www.example." + point);
    CHECK_FALSE(rig.denies("third." + point));
    const auto ask = rig.cut.next_ask();
    REQUIRE(ask);
    CHECK(std::ranges::equal(*ask, name_in_wire(point).view()));
    rig.missing(point);
    CHECK(rig.denies("third." + point));
    CHECK(rig.denies("a.b.c.d." + point, kTypeAaaa));
    CHECK(rig.denies("third." + point, 65));
    CHECK_FALSE(rig.denies("third." + point, 33));  // SRV
    CHECK_FALSE(rig.denies("third." + point, 16));  // TXT
    CHECK_FALSE(rig.denies(point));
    CHECK_FALSE(rig.denies("_tcp." + point));
    CHECK_FALSE(rig.denies("_http._tcp.web." + point));
    CHECK_FALSE(rig.denies("third.org" + point.substr(3)));
    rig.now += kNegative - Seconds(1);
    CHECK(rig.denies("third." + point));
    rig.now += Seconds(1);
    CHECK_FALSE(rig.denies("third." + point));
  }
}

TEST_CASE("The search path comes before the name itself: what it showed counts once the top-level domain is known") {
  Rig rig;
  for (const std::string name : {"one", "two", "three"})
    rig.missing(name + ".com.cluster.local");
  rig.missing("one.org.cluster.local");
  CHECK_FALSE(rig.cut.next_ask());
  rig.cut.exists_elsewhere(name_in_wire("one.org").view(), rig.now);
  CHECK_FALSE(rig.cut.next_ask());  // one name is no evidence
  rig.cut.exists_elsewhere(name_in_wire("one.com").view(), rig.now);
  const auto ask = rig.cut.next_ask();
  REQUIRE(ask);
  CHECK(std::ranges::equal(*ask, name_in_wire("com.cluster.local").view()));
  CHECK_FALSE(rig.denies("four.com.cluster.local"));
  rig.missing("com.cluster.local");
  CHECK(rig.denies("four.com.cluster.local"));
}

TEST_CASE("One walk of a search path is evidence enough for each of its points") {
  Rig rig;
  rig.cut.exists_elsewhere(name_in_wire("www.example.com").view(), rig.now);
  std::set<ByteBuffer> asked;
  for (const std::string point : {"com.shop.svc.cluster.local", "com.svc.cluster.local", "com.cluster.local"}) {
    rig.missing("one." + point);
    while (const auto ask = rig.cut.next_ask())
      asked.insert(*ask);
  }
  CHECK(asked.size() == 3);
  rig.missing("com.svc.cluster.local");
  CHECK(rig.denies("two.com.svc.cluster.local"));
  CHECK_FALSE(rig.denies("two.com.cluster.local"));  // each by its own name's NXDOMAIN
  CHECK_FALSE(rig.denies("two.com.other.svc.cluster.local"));
}

TEST_CASE("While it is in use the point is asked for again before its time is over") {
  Rig rig;
  rig.cut.exists_elsewhere(name_in_wire("www.example.com").view(), rig.now);
  rig.arm("com.cluster.local");
  for (int i = 0; i < 20; ++i) {
    rig.now += Seconds(1);
    CHECK(rig.denies("x.com.cluster.local"));
    if (rig.cut.next_ask()) rig.missing("com.cluster.local");
  }
  CHECK(rig.cut.counters().armed <= 8);
}

TEST_CASE("Never armed: special labels, an unknown top-level domain, a zone of its own below, other zones") {
  Rig rig({"cluster.local", "corp.com.svc.cluster.local", "."});
  for (const auto* top : {"www.example.com", "a.dns", "a.dns-version", "a.pod", "a.svc", "a._tcp", "a.org"})
    rig.cut.exists_elsewhere(name_in_wire(top).view(), rig.now);
  for (const std::string point :
       {"dns.cluster.local", "dns-version.cluster.local", "pod.cluster.local", "svc.cluster.local",
        "_tcp.shop.svc.cluster.local", "legacy.cluster.local", "com.svc.cluster.local", "org.a.b.svc.cluster.local"}) {
    CAPTURE(point);
    rig.arm(point);
    CHECK_FALSE(rig.denies("third." + point));
  }
  rig.arm("com.cluster.local");
  CHECK(rig.denies("third.com.cluster.local"));
}

TEST_CASE("A name that exists at or below the point drops it and bars it for an hour") {
  for (const std::string name : {"web.dev.svc.cluster.local", "dev.svc.cluster.local", "a.web.dev.svc.cluster.local"}) {
    Rig rig;
    rig.cut.exists_elsewhere(name_in_wire("web.dev").view(), rig.now);
    rig.arm("dev.svc.cluster.local");
    CHECK(rig.denies("third.dev.svc.cluster.local"));
    rig.exists(name);
    CHECK_FALSE(rig.denies("third.dev.svc.cluster.local"));
    rig.now += std::chrono::minutes(59);
    rig.arm("dev.svc.cluster.local");
    CHECK_FALSE(rig.denies("third.dev.svc.cluster.local"));
    rig.now += std::chrono::minutes(2);
    rig.arm("dev.svc.cluster.local");
    CHECK(rig.denies("third.dev.svc.cluster.local"));
  }
}

TEST_CASE("A denial is a whole message: the SOA's names are as they were, whatever stands before the point") {
  struct Case {
    std::string primary, mailbox;
    std::size_t written;  // octets of both where they point into the question
  };
  const Case cases[] = {{"ns.dns.cluster.local", "hostmaster.cluster.local", 9 + 13},
                        {"cluster.local", "com.cluster.local", 2 + 2},
                        {"ns1.example.net", ".", 17 + 1},
                        {"NS.Cluster.LOCAL", "xcom.cluster.local", 5 + 7}};
  for (const auto& [primary, mailbox, written] : cases) {
    Rig rig;
    rig.cut.exists_elsewhere(name_in_wire("www.example.com").view(), rig.now);
    rig.arm("com.cluster.local");
    ByteBuffer rdata = wire_name(primary);
    for (const ByteBuffer& more : {wire_name(mailbox), ByteBuffer(20, 7)})
      rdata.insert(rdata.end(), more.begin(), more.end());
    Prepared said{.message = MessageBuilder(0, kQr | kNxDomain)
                                 .question("com.cluster.local", kTypeA)
                                 .record_of(wire_name("cluster.local"), 2, kTypeSoa, 5, rdata)
                                 .octets,
                  .ttl_at = {},
                  .rcode = kNxDomain,
                  .ttl = kNegative};
    rig.cut.missing(name_in_wire("com.cluster.local").view(), kTypeA, said, rig.now);
    rig.now += Seconds(2);
    for (const std::string asked : {"x.com.cluster.local", "a.much.longer.name.with.many.labels.com.cluster.local"}) {
      ByteBuffer question = wire_name(asked);
      const auto denial = rig.cut.denies(question, kTypeA, rig.now);
      REQUIRE(denial);
      CHECK(denial->age == 2);
      put16(question, kTypeA);
      put16(question, kClassIn);
      ByteBuffer message(1024);
      message.resize(denial->write(question, message));
      const auto parsed = parse(message);
      REQUIRE(parsed.valid);
      CHECK((parsed.flags == (kQr | kNxDomain)));
      CHECK(parsed.question == question);
      REQUIRE(parsed.records.size() == 1);
      const Record& soa = parsed.records[0];
      CHECK(soa.type == kTypeSoa);
      CHECK(soa.ttl == 5);
      CHECK(soa.ttl_at == kHeaderSize + question.size() + denial->ttl_at);
      CHECK(soa.owner_size == 2);
      CHECK(soa.rdata_size == written + 20);
      Name owner, first, second;
      Reader(message, soa.begin).name(&owner);
      Reader reader(message, soa.rdata_at);
      REQUIRE((reader.name(&first) && reader.name(&second)));
      CHECK(std::ranges::equal(owner.view(), wire_name("cluster.local")));
      CHECK(same_name(first.view(), wire_name(primary)));
      CHECK(same_name(second.view(), wire_name(mailbox)));
      CHECK(std::ranges::equal(ByteView(message).last(20), ByteBuffer(20, 7)));
    }
  }
}

TEST_CASE("Bounds: a flood of labels neither grows without end nor arms anything") {
  Rig rig;
  for (int i = 0; i < 20000; ++i) {
    rig.cut.exists_elsewhere(name_in_wire("a.t" + std::to_string(i)).view(), rig.now);
    rig.missing("a.t" + std::to_string(i) + ".cluster.local");
    rig.missing("b.t" + std::to_string(i) + ".cluster.local");
    rig.cut.next_ask();
  }
  CHECK(rig.cut.counters().asked <= Cut::kTops);
  CHECK(rig.cut.counters().forgotten >= 20000 / Cut::kPoints - 1);
}

namespace {

// A cluster as CoreDNS shows it, with what Corefiles add to it; names come to be at an instant.
struct Cluster {
  std::map<std::string, Instant> names;  // NOERROR for an address, whether with data or without
  std::optional<Instant> since(const std::string& name) const {
    const auto found = names.find(name);
    return found == names.end() ? std::nullopt : std::optional(found->second);
  }
};

Cluster a_cluster(std::mt19937_64& random, Instant start) {
  Cluster out;
  const auto add = [&](const std::string& name, Instant when) { out.names.emplace(name + "." + kZone, when); };
  out.names.emplace(kZone, start);
  add("svc", start);
  add("pod", start);
  add("ns.dns", start);     // below dns, which is missing
  add("db.legacy", start);  // hosts, with fallthrough
  add("a.b.apps", start);   // rewrite
  add("eu-1a.zonal", start);
  for (const std::string ns : {"shop", "dev", "com"}) {
    add(ns + ".svc", start);
    for (const std::string service : {"web", "api", "com", "net", "db"}) {
      if (random() % 2 == 0) continue;
      const Instant when = start + Seconds(random() % 3 == 0 ? random() % 300 : 0);
      add(service + "." + ns + ".svc", when);
      if (random() % 2 != 0) continue;  // headless: its pods come with their endpoints
      for (const std::string pod : {"a", "b", "www"})
        add(pod + "." + service + "." + ns + ".svc", when);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("A property: never NXDOMAIN but where CoreDNS says so, or did within the negative TTL") {
  auto random = lastlight::test::seeded_random("the cut against a cluster");
  const std::vector<std::string> labels = {"a",   "b",   "www",  "web",    "api",  "db",  "com",  "net", "dev",  "org",
                                           "svc", "pod", "shop", "legacy", "apps", "dns", "_tcp", "ns",  "zonal"};
  std::uint64_t served = 0;
  for (int history = 0; history < 40; ++history) {
    Rig rig({"cluster.local", "corp.cluster.local", "."});
    const Instant start = rig.now;
    const Cluster cluster = a_cluster(random, start);
    for (const auto* top : {"x.com", "x.net", "x.org", "x.dev"})
      rig.cut.exists_elsewhere(name_in_wire(top).view(), rig.now);
    const auto tell = [&](const std::string& name) {
      const auto since = cluster.since(name);
      since && *since <= rig.now ? rig.exists(name) : rig.missing(name);
    };
    for (int step = 0; step < 3000; ++step) {
      rig.now += std::chrono::milliseconds(random() % 200);
      std::string name;
      for (std::size_t depth = 1 + random() % 4; depth > 0; --depth)
        name += labels[random() % labels.size()] + ".";
      const std::string suffixes[] = {"", "svc.", "shop.svc.", "dev.svc.", "com.svc."};
      name += suffixes[random() % 5] + kZone;
      if (rig.denies(name)) {
        ++served;
        const auto since = cluster.since(name);
        INFO(name);
        REQUIRE((!since || rig.now < *since + kNegative));
      } else {
        tell(name);
      }
      while (const auto ask = rig.cut.next_ask()) {
        std::string point;
        for (std::size_t at = 0; (*ask)[at] != 0; at += (*ask)[at] + std::size_t{1})
          point +=
              (point.empty() ? "" : ".") + std::string(reinterpret_cast<const char*>(ask->data()) + at + 1, (*ask)[at]);
        if (random() % 10 != 0) tell(point);
      }
    }
  }
  CHECK(served > 2000);
}
