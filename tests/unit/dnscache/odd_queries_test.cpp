// Queries that are legal and seldom, the EDNS options a listener must know, and names with a meaning of their own.
#include <string>

#include "dnscache/edns.h"

#include "tests/unit/dnscache/forwarder_rig.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;
using Seconds = std::chrono::seconds;

namespace {

ByteBuffer with_options(const ByteBuffer& options, std::string_view name = "a.", std::uint16_t flags = 0) {
  return MessageBuilder(1, kRd).question(name, kTypeA).opt(1232, flags, 0, options).octets;
}

const ByteBuffer kClientCookie = {0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8};
const ByteBuffer kKeepalive = {0, 11, 0, 0};

// The RDATA of the answer's OPT; empty without one.
ByteBuffer options_of(const ByteBuffer& message) {
  const auto parsed = parse(message);
  REQUIRE(parsed.valid);
  for (const Record& record : parsed.records) {
    if (record.type == kTypeOpt)
      return {message.begin() + static_cast<std::ptrdiff_t>(record.rdata_at),
              message.begin() + static_cast<std::ptrdiff_t>(record.end())};
  }
  return {};
}

}  // namespace

TEST_CASE("RFC 8906 s3: every well-formed query has an answer, by us or by the upstream") {
  struct Case {
    const char* what;
    ByteBuffer query;
  };
  const auto asked = [](std::uint16_t flags) { return MessageBuilder(1, flags).question("a.", kTypeA); };
  const std::vector<Case> cases = {
      {"s3.1.1 unknown type", MessageBuilder(1, kRd).question("a.", 1000).octets},
      {"s3.1.2 meta type in the reserved range", MessageBuilder(1, kRd).question("a.", 249).octets},
      {"unknown class", MessageBuilder(1, kRd).question("a.", kTypeA, 4242).octets},
      {"s3.1.3 AD and CD", asked(kRd | kAd | kCd).octets},
      {"s3.1.3 the last reserved flag", asked(kRd | 0x0040).octets},
      {"flags that belong to answers", asked(kRd | kAa | kTc | kRa).octets},
      {"an rcode in a query", asked(kRd | 5).octets},
      {"no recursion desired", asked(0).octets},
      {"s3.1.4 unknown opcode", MessageBuilder(1, 15 << 11).octets},
      {"s3.1.4 unknown opcode with a question", asked(6 << 11).octets},
      {"s3.2.1 unknown EDNS version", asked(kRd).opt(1232, 0, 100).octets},
      {"s3.2.2 unknown EDNS option", with_options({0xFD, 0xE9, 0, 3, 1, 2, 3})},
      {"s3.2.3 unknown EDNS flags", with_options({}, "a.", 0x3FFF)},
      {"s3.2.4 version, option and flags", asked(kRd).opt(1232, 0x3FFF, 77, {0xFD, 0xE9, 0, 0}).octets},
      {"a client subnet (RFC 7871)", with_options({0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2})},
      {"padding (RFC 7830)", with_options({0, 12, 0, 4, 0, 0, 0, 0})},
      {"NSID (RFC 5001)", with_options({0, 3, 0, 0})},
      {"records in the answer section", asked(kRd).a(60).octets},
      {"an additional record before the OPT", asked(kRd).a(60, 1, 3).opt(1232).octets},
      {"EDNS size 0", asked(kRd).opt(0).octets},
      {"octets behind the message", asked(kRd).raw({1, 2, 3}).octets},
  };
  for (const Case& each : cases) {
    INFO(each.what);
    Rig rig;
    auto sent = rig.ask(each.query);
    if (rig.last.ask) {
      const auto got = rig.forwarder.on_failure(rig.last.ask->flight, Failure::Timeout, rig.now);
      REQUIRE(got.size() == 1);
      sent = got[0].message;
    }
    const auto parsed = parse(sent);
    CHECK(parsed.valid);
    CHECK(parsed.id == 1);
    CHECK(parsed.rcode() != kFormErr);
  }
}

TEST_CASE("RFC 7873 s5.2.3: a cookie comes back with one of ours, on answers from anywhere, and never goes upstream") {
  Rig rig;
  CHECK(rig.ask(with_options(kClientCookie)).empty());
  REQUIRE(rig.last.ask);
  CHECK(parse(rig.last.ask->query).records.at(0).rdata_size == 0);
  const auto missed = rig.forwarder.on_reply(rig.last.ask->flight, reply_for("a.").a(60).octets, rig.now)[0].message;
  const auto hit = rig.ask(with_options(kClientCookie));
  const auto refused = rig.ask(MessageBuilder(1, kRd).question("a.", kTypeAxfr).opt(1232, 0, 0, kClientCookie).octets);
  for (const auto& message : {missed, hit, refused}) {
    auto options = options_of(message);
    REQUIRE(options.size() >= 28);
    options.erase(options.begin(), options.end() - 28);  // behind an extended error
    CHECK(options[3] == 24);
    CHECK(std::equal(kClientCookie.begin() + 4, kClientCookie.end(), options.begin() + 4));
    CHECK(rig.ask(with_options(options)).size() == hit.size());
    CHECK(options_of(rig.ask(with_options(options))) == options);
  }
  CHECK(options_of(rig.ask(with_options({}))).empty());
}

TEST_CASE("RFC 7873 s4, 7871 s7.3: neither cookies, keepalive nor client subnets split the key") {
  Rig rig;
  rig.resolve(edns_query("a."), reply_for("a.").a(60).opt(1232, 0, 0, {0, 8, 0, 7, 0, 1, 24, 24, 192, 0, 2}).octets);
  for (const ByteBuffer& options : {kClientCookie, kKeepalive, ByteBuffer{0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100}}) {
    const auto sent = rig.ask(with_options(options));
    CHECK(parse(sent).counts[1] == 1);
    const auto back = options_of(sent);
    CHECK((back.empty() || load16(back, 0) == 10));  // and no client subnet comes back
  }
  CHECK(rig.forwarder.counters().asked == 1);
}

TEST_CASE("RFC 9567 s6.1, 7871 s7.2.2: options of an upstream end here: where to report errors, whose subnet it was") {
  Rig rig;
  const ByteBuffer options = {0, 18, 0, 3, 1, 'x', 0, 0, 8, 0, 7, 0, 1, 24, 24, 192, 0, 2};
  const auto sent = rig.resolve(edns_query("a."), reply_for("a.").a(60).opt(4096, 0, 0, options).octets);
  CHECK(parse(sent).opt);
  CHECK(options_of(sent).empty());
  CHECK(options_of(rig.ask(edns_query("a."))).empty());
}

TEST_CASE("RFC 7873 s5.4: a query without a question asks for a cookie; BADCOOKIE says that the server's was wrong") {
  Rig rig;
  const auto only = [](const ByteBuffer& options) { return MessageBuilder(3, 0).opt(1232, 0, 0, options).octets; };
  const auto first = rig.ask(only(kClientCookie));
  CHECK(parse(first).rcode() == kNoError);
  CHECK(parse(first).counts[0] == 0);
  auto ours = options_of(first);
  CHECK(parse(rig.ask(only(ours))).rcode() == kNoError);
  ours.back() ^= 1;
  CHECK(parse(rig.ask(only(ours))).rcode() == kBadCookie);
  CHECK(parse(rig.ask(only({}))).rcode() == kFormErr);  // RFC 9619 s4
  CHECK(parse(rig.ask(MessageBuilder(3, 4 << 11).opt(1232, 0, 0, kClientCookie).octets)).rcode() == kFormErr);
}

TEST_CASE("RFC 7828 s3.3.2: the idle timeout is told over TCP to those who ask, never over UDP") {
  DnsConfig config = config_with();
  config.tcp_idle_timeout = std::chrono::milliseconds(2500);
  Rig rig(config);
  rig.resolve(edns_query("a."), reply_for("a.").a(60).octets);
  CHECK(options_of(rig.ask(with_options(kKeepalive), Transport::Tcp)) == ByteBuffer{0, 11, 0, 2, 0, 25});
  CHECK(options_of(rig.ask(with_options({}), Transport::Tcp)).empty());
  CHECK(options_of(rig.ask(with_options(kKeepalive), Transport::Udp)).empty());
  CHECK(rig.ask(with_options(kKeepalive, "b."), Transport::Tcp).empty());
  const auto waited = rig.forwarder.on_reply(rig.last.ask.value().flight, reply_for("b.").a(60).octets, rig.now);
  CHECK(options_of(waited[0].message) == ByteBuffer{0, 11, 0, 2, 0, 25});
}

TEST_CASE(
    "RFC 6761 s6.4: invalid is NXDOMAIN here; s6.1, s6.2, s6.5: private reverse zones, test and example are not") {
  Rig rig;
  for (const std::string_view name : {"invalid", "X.Invalid", "a.b.invalid"}) {
    for (const std::uint16_t type : {kTypeA, kTypeAaaa, kTypeSoa})
      CHECK(parse(rig.ask(query_for(name, 1, type))).rcode() == kNxDomain);
  }
  for (const std::string_view name :
       {"notinvalid", "invalid.org", "1.0.0.10.in-addr.arpa", "1.1.168.192.in-addr.arpa", "1.0.16.172.in-addr.arpa",
        "a.test", "a.example", "kubernetes.default.svc.cluster.local"}) {
    CHECK(rig.ask(query_for(name, 1, 12)).empty());
    CHECK(rig.last.ask);
  }
}

TEST_CASE("RFC 2308 s5: NXDOMAIN is kept for the type that was asked alone, for CoreDNS has names with only a TXT") {
  Rig rig;
  const std::string_view name = "dns-version.cluster.local";
  rig.resolve(query_for(name), reply_for(name, kNxDomain).soa(30, 30).octets);
  CHECK(parse(rig.ask(query_for(name))).rcode() == kNxDomain);
  const auto text = rig.resolve(query_for(name, 1, 16), reply_for(name, 0, 16).record(1, 16, 30, {1, '1'}).octets);
  CHECK(parse(text).counts[1] == 1);
}

TEST_CASE("RFC 1035 s3.2.1: a TTL of 0 serves those who wait and is not kept") {
  Rig rig;
  CHECK(rig.ask(query_for("a.", 1)).empty());
  const auto flight = rig.last.ask.value().flight;
  CHECK(rig.ask(query_for("a.", 2)).empty());
  const auto sent = rig.forwarder.on_reply(flight, reply_for("a.").a(0).octets, rig.now);
  REQUIRE(sent.size() == 2);
  for (const Delivery& delivery : sent)
    CHECK(parse(delivery.message).records.at(0).ttl == 0);
  CHECK(rig.ask(query_for("a.", 3)).empty());
  CHECK(rig.last.ask);
}

TEST_CASE("RFC 4035 s3.2.1: a client without DO never sees the signatures that one with DO was given") {
  Rig rig;
  const auto signed_reply = reply_for("a.").a(60).record(1, kTypeRrsig, 60, ByteBuffer(30)).octets;
  CHECK(parse(rig.resolve(edns_query("a.", 1232, kEdnsDo), signed_reply)).counts[1] == 2);
  CHECK(parse(rig.resolve(edns_query("a."), signed_reply)).counts[1] == 1);  // of an upstream that does not care
  for (int i = 0; i < 2; ++i) {
    CHECK(parse(rig.ask(edns_query("a.", 1232, kEdnsDo))).counts[1] == 2);
    CHECK(parse(rig.ask(edns_query("a."))).counts[1] == 1);
    CHECK(parse(rig.ask(query_for("a."))).counts[1] == 1);
  }
}

TEST_CASE(
    "RFC 1034 s3.6.2, 2181 s9: a chain of seven CNAMEs, whole where it fits, cut at whole records at 512 octets") {
  Rig rig;
  auto reply = reply_for("web.shop.svc.cluster.local");
  std::string owner;
  for (char i = 'a'; i <= 'g'; ++i) {
    const std::string target = std::string(1, i) + std::string(50, 'x') + ".example.org";
    const ByteBuffer from = owner.empty() ? ByteBuffer{0xC0, 12} : wire_name(owner);
    reply.record_of(from, 1, kTypeCname, 30, wire_name(target));
    owner = target;
  }
  reply.record_of(wire_name(owner), 1, kTypeA, 30, {192, 0, 2, 1});
  const auto plain = query_for("web.shop.svc.cluster.local");
  const auto cut = parse(rig.resolve(plain, reply.octets));
  REQUIRE(cut.valid);
  CHECK((cut.flags & kTc) != 0);
  CHECK(cut.counts[1] == 6);
  const auto whole = parse(rig.ask(plain, Transport::Tcp));
  REQUIRE(whole.valid);
  CHECK((whole.flags & kTc) == 0);
  CHECK(whole.counts[1] == 8);
  CHECK(parse(rig.ask(edns_query("web.shop.svc.cluster.local"))).counts[1] == 8);
}
