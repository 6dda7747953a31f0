#include "dnscache/resolv_conf.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::dns;

TEST_CASE("nameservers of both families, at most three, no scope ids", "[resolv_conf]") {
  const auto conf = parse_resolv_conf(
      "# a comment\n; another\nsearch a.example b.example\nnameserver 192.0.2.1\r\nnameserver\t2001:db8::1\n"
      "nameserver fe80::1%eth0\nnameserver nonsense\nnameserver 192.0.2.1\nnameserver 0.0.0.0\n nameserver 192.0.2.3\n"
      "nameserver 192.0.2.4\noptions timeout:1 rotate\noptions attempts:2");
  CHECK(conf.nameservers == std::vector<IpAddress>{*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::1"),
                                                   *IpAddress::parse("192.0.2.3")});
  CHECK(conf.options == std::vector<std::string>{"timeout:1", "rotate", "attempts:2"});
  CHECK(conf.problems.size() == 4);
}

TEST_CASE("a stub gives way to systemd-resolved's servers when there are any", "[resolv_conf]") {
  const auto stub = parse_resolv_conf("nameserver 127.0.0.53\n");
  const auto real = parse_resolv_conf("nameserver 192.0.2.1\n");
  const auto none = parse_resolv_conf("");
  CHECK(is_stub(stub));
  CHECK_FALSE(is_stub(real));
  CHECK_FALSE(is_stub(none));
  const std::optional<ResolvConf> systemd = real;
  CHECK(&choose_resolv_conf(stub, systemd) == &*systemd);
  CHECK(&choose_resolv_conf(none, systemd) == &*systemd);
  CHECK(&choose_resolv_conf(stub, std::nullopt) == &stub);
  const std::optional<ResolvConf> empty = none;
  CHECK(&choose_resolv_conf(stub, empty) == &stub);
  const std::optional<ResolvConf> other = stub;
  CHECK(&choose_resolv_conf(real, other) == &real);
}
