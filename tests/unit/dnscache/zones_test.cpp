#include "dnscache/zones.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;

namespace {

std::vector<ZoneConfig> named(std::initializer_list<const char*> names) {
  std::vector<ZoneConfig> zones;
  for (const char* name : names) {
    zones.emplace_back();
    zones.back().name = name;
  }
  return zones;
}

}  // namespace

TEST_CASE("RFC 1034 s3.1: the longest suffix wins, at label boundaries only") {
  const Zones zones(named({".", "cluster.local", "svc.Cluster.Local.", "arpa"}));
  const auto find = [&](const char* name) { return zones.find(Name::parse(name).value().view()); };
  CHECK(find("web.svc.cluster.local") == 2U);
  CHECK(find("svc.cluster.local") == 2U);
  CHECK(find("xsvc.cluster.local") == 1U);
  CHECK(find("cluster.local") == 1U);
  CHECK(find("local") == 0U);
  CHECK(find(".") == 0U);
  CHECK(find("x.\\007cluster\\005local") == 0U);  // the octets of the suffix inside a label
}

TEST_CASE("Without a zone for it a name has none; of two equal zones the first is taken") {
  const Zones zones(named({"b.example", "b.example", "not..a.name"}));
  CHECK(zones.find(Name::parse("a.b.example").value().view()) == 0U);
  CHECK_FALSE(zones.find(Name::parse("example").value().view()));
}
