#include "agent/base/address.h"

#include "tests/support/catch.h"

using lastlight::Endpoint;
using lastlight::IpAddress;

TEST_CASE("addresses are read and printed in the operator's forms") {
  CHECK(IpAddress::parse("192.0.2.1")->to_string() == "192.0.2.1");
  CHECK(IpAddress::parse("2001:DB8:0::1")->to_string() == "2001:db8::1");
  CHECK_FALSE(IpAddress::parse("192.0.2"));
  CHECK_FALSE(IpAddress::parse("kube-dns"));
  CHECK_FALSE(IpAddress::parse(""));
}

TEST_CASE("endpoints take a default port and need brackets around IPv6 with one") {
  CHECK(Endpoint::parse("192.0.2.1", 53)->to_string() == "192.0.2.1:53");
  CHECK(Endpoint::parse("192.0.2.1:1053", 53)->to_string() == "192.0.2.1:1053");
  CHECK(Endpoint::parse("2001:db8::1", 53)->to_string() == "[2001:db8::1]:53");
  CHECK(Endpoint::parse("[2001:db8::1]:1053", 53)->to_string() == "[2001:db8::1]:1053");
  CHECK(Endpoint::parse("[2001:db8::1]", 53)->port == 53);
  for (const char* bad :
       {"192.0.2.1:", "192.0.2.1:x", "192.0.2.1:65536", "[192.0.2.1]:53", "[::1", "[::1]53", ":53", ""}) {
    INFO(bad);
    CHECK_FALSE(Endpoint::parse(bad, 53));
  }
}

TEST_CASE("an endpoint survives the kernel's form") {
  for (const char* text : {"10.96.0.10:53", "[fd00::a]:1053"}) {
    const auto endpoint = *Endpoint::parse(text, 0);
    sockaddr_storage storage;
    endpoint.to_sockaddr(storage);
    CHECK(Endpoint::from_sockaddr(reinterpret_cast<const sockaddr*>(&storage)) == endpoint);
  }
}

TEST_CASE("loopback and link-local are told apart") {
  CHECK(IpAddress::parse("127.0.0.53")->is_loopback());
  CHECK(IpAddress::parse("::1")->is_loopback());
  CHECK(IpAddress::parse("169.254.169.254")->is_link_local());
  CHECK(IpAddress::parse("fe80::1")->is_link_local());
  CHECK_FALSE(IpAddress::parse("10.0.0.1")->is_link_local());
}
