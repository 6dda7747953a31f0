// The whole cache, from query to answer, against a map without bounds: random histories of questions, answers and time.
#include <array>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/random.h"
#include "tests/unit/dnscache/forwarder_rig.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::dns::test;
using Seconds = std::chrono::seconds;

namespace {

constexpr std::uint32_t kNegativeMost = 30;
enum class Kind : std::uint8_t { Positive, NoData, NxDomain, NoSoa };

struct Kept {
  Kind kind = Kind::Positive;
  std::uint32_t version = 0;
  std::uint32_t ttl = 0;
  Instant stored{};
};

struct Question {
  int name = 0;
  std::uint16_t type = kTypeA;
  bool dnssec = false;
  auto operator<=>(const Question&) const = default;

  std::string text() const { return "name" + std::to_string(name) + ".example"; }
};

struct History {
  explicit History(Bytes size) : rig(sized(size)) {}
  static DnsConfig sized(Bytes size) {
    DnsConfig config = config_with();
    config.cache_size = size;
    return config;
  }

  Rig rig;
  std::mt19937_64 random = lastlight::test::seeded_random("the forwarder against a map");
  std::map<Question, Kept> model;
  std::uint32_t versions = 0;
  std::uint64_t hits = 0, asked = 0, lost = 0;

  Question draw() {
    return {static_cast<int>(random() % 200), static_cast<std::uint16_t>(random() % 2 == 0 ? 1 : 16),
            random() % 4 == 0};
  }

  ByteBuffer reply_to(const Question& question, Kept& kept) {
    kept.kind = static_cast<Kind>(random() % 4);
    kept.version = ++versions;
    kept.ttl = random() % 8 == 0 ? 0 : static_cast<std::uint32_t>(random() % 60);
    kept.stored = rig.now;
    auto message = reply_for(question.text(), kept.kind == Kind::NxDomain ? kNxDomain : kNoError, question.type);
    ByteBuffer version;
    put32(version, kept.version);
    switch (kept.kind) {
      case Kind::Positive:
        if (question.type != kTypeA) version.insert(version.begin(), 4);
        return message.record(1, question.type, kept.ttl, version).octets;
      case Kind::NoData:
      case Kind::NxDomain:
        kept.ttl = std::min(kept.ttl, kNegativeMost);
        return message.soa(kept.ttl, 3600).octets;
      case Kind::NoSoa:
        break;
    }
    kept.ttl = 0;
    return message.octets;
  }

  void check(const Parsed& sent, ByteView octets, const Kept& kept, std::uint32_t age) {
    REQUIRE(sent.valid);
    REQUIRE(sent.rcode() == (kept.kind == Kind::NxDomain ? kNxDomain : kNoError));
    REQUIRE(sent.counts[1] == (kept.kind == Kind::Positive ? 1 : 0));
    if (kept.kind == Kind::NoSoa) return;
    const Record& record = sent.records.at(0);
    REQUIRE(record.ttl == kept.ttl - age);
    if (kept.kind == Kind::Positive) REQUIRE(load32(octets, record.end() - 4) == kept.version);
  }

  // It makes no difference whether what is asked was expected, alone, among others, or something else was.
  void expect_some(const ByteBuffer& query) {
    static const ByteBuffer other = query_for("other.example"), broken(7);
    const std::array<std::vector<ByteView>, 5> ways{
        {{}, {query}, {other, query}, {query, broken, other}, std::vector<ByteView>(40, query)}};
    if (const std::size_t way = random() % (ways.size() + 1); way < ways.size()) rig.forwarder.expect(ways[way]);
  }

  void step() {
    rig.now += std::chrono::milliseconds(random() % 400);
    const Question question = draw();
    auto query = MessageBuilder(static_cast<std::uint16_t>(random()), kRd).question(question.text(), question.type);
    if (question.dnssec) query.opt(1232, kEdnsDo);
    expect_some(query.octets);
    ByteBuffer sent = rig.ask(query.octets);
    rig.forwarder.expect({});
    const auto kept = model.find(question);
    const bool fresh = kept != model.end() && rig.now < kept->second.stored + Seconds(kept->second.ttl);
    if (!sent.empty()) {
      ++hits;
      REQUIRE(fresh);
      const auto age = std::chrono::duration_cast<Seconds>(rig.now - kept->second.stored).count();
      check(parse(sent), sent, kept->second, static_cast<std::uint32_t>(age));
    } else {
      REQUIRE(rig.last.ask);
      lost += fresh;
    }
    if (!rig.last.ask) return;
    ++asked;
    Kept next;
    const ByteBuffer reply = reply_to(question, next);
    const auto out = rig.forwarder.on_reply(rig.last.ask->flight, reply, rig.now);
    if (sent.empty()) {
      REQUIRE(out.size() == 1);
      REQUIRE(load16(out[0].message, 0) == load16(query.octets, 0));
      check(parse(out[0].message), out[0].message, next, 0);
    }
    if (next.ttl != 0 || !fresh) model[question] = next;
  }
};

}  // namespace

TEST_CASE("A property: over any history, what is answered is what a map without bounds would answer") {
  History history(mib(4));
  for (int i = 0; i < 30000; ++i)
    history.step();
  CHECK(history.hits > 3000);
  CHECK(history.asked > 3000);
  CHECK(history.lost == 0);
}

TEST_CASE("A property: with too little room answers are lost, and what is answered is still right") {
  History history(kib(8));
  for (int i = 0; i < 30000; ++i)
    history.step();
  CHECK(history.hits > 300);
  CHECK(history.lost > 100);
}
