#include "agent/own_names.h"

#include "dnscache/wire.h"

#include "tests/support/catch.h"

using namespace lastlight;

namespace {

// The query turned into an answer with one record that points at its name.
ByteBuffer answer(ByteBuffer query, std::uint16_t type, const ByteBuffer& rdata) {
  dns::store16(query, 2, dns::kQr | dns::kRd | dns::kRa);
  dns::store16(query, 6, 1);
  const ByteBuffer fixed = {0xc0, 12, 0, static_cast<std::uint8_t>(type),        0, 1, 0, 0,
                            0,    30, 0, static_cast<std::uint8_t>(rdata.size())};
  query.insert(query.end(), fixed.begin(), fixed.end());
  query.insert(query.end(), rdata.begin(), rdata.end());
  return query;
}

}  // namespace

TEST_CASE("both families are asked, and the caller hears once, IPv4 first") {
  OwnNames names;
  int calls = 0;
  std::vector<IpAddress> got;
  auto questions = names.start("web.example", [&](std::vector<IpAddress> found) {
    ++calls;
    got = std::move(found);
  });
  REQUIRE(questions.size() == 2);
  const ByteBuffer v6(16, 0x20);
  names.on_answer(questions[1].id, answer(questions[1].query, dns::kTypeAaaa, v6));
  CHECK(calls == 0);
  names.on_answer(questions[0].id, answer(questions[0].query, dns::kTypeA, {192, 0, 2, 7}));
  CHECK(calls == 1);
  REQUIRE(got.size() == 2);
  CHECK(got[0].to_string() == "192.0.2.7");
  CHECK(got[1].is_v6());
  CHECK(names.pending() == 0);
  names.on_answer(questions[0].id, answer(questions[0].query, dns::kTypeA, {192, 0, 2, 7}));
  CHECK(calls == 1);
}

TEST_CASE("a malformed or failed answer gives no address, never a wrong one") {
  OwnNames names;
  auto questions = names.start("web.example", [](std::vector<IpAddress>) {});
  ByteBuffer good = answer(questions[0].query, dns::kTypeA, {192, 0, 2, 7});
  CHECK(addresses_of(good).size() == 1);
  for (std::size_t cut = 0; cut < good.size(); ++cut) {
    CHECK(addresses_of(ByteView(good).first(cut)).empty());
  }
  dns::store16(good, 2, dns::kQr | dns::kServFail);
  CHECK(addresses_of(good).empty());
}

TEST_CASE("an illegal name is refused at once") {
  OwnNames names;
  bool called = false;
  CHECK(names.start(std::string(300, 'a'), [&](std::vector<IpAddress> found) { called = found.empty(); }).empty());
  CHECK(called);
}
