#include "agent/startup_taint.h"

#include "agent/name_probe.h"

#include "tests/support/catch.h"

using namespace lastlight;
using namespace std::chrono_literals;
using Step = StartupTaint::Step;
using What = StartupTaint::Told::What;

namespace {

constexpr const char* kKey = "startup-taint.cluster-autoscaler.kubernetes.io/lastlight";
constexpr std::uint16_t kServFail = 2, kNxDomain = 3;

HttpReply node(const std::string& taints) {
  return {.status = 200,
          .headers = {},
          .body = R"({"metadata":{"name":"n1","resourceVersion":"7"},"spec":{"taints":[)" + taints + "]}}",
          .error = {}};
}

HttpReply refused(int status) {
  return {.status = status, .headers = {}, .body = R"({"message":"no"})", .error = {}};
}

const std::string kOurs =
    std::string(R"({"key":")") + kKey + R"(","effect":"NoExecute","timeAdded":"2026-01-01T00:00:00Z"})";
const std::string kTheirs = R"({"key":"example.com/lastlight","effect":"NoSchedule"})";

struct Node {
  StartupTaint taint{"n1", kKey};
  Instant now{};

  std::optional<StartupTaint::Told> answered(std::optional<std::uint16_t> rcode) {
    taint.begin();
    return taint.on_answer(rcode, now);
  }
  std::optional<StartupTaint::Told> replied(const HttpReply& reply) {
    taint.begin();
    return taint.on_reply(reply, now, 1.0);
  }
};

}  // namespace

TEST_CASE("the taint goes once the upstream has answered, and nobody else's with it") {
  Node node_;
  CHECK(node_.taint.step() == Step::Ask);
  CHECK(node_.taint.due() <= node_.now);
  CHECK_FALSE(node_.answered(kNxDomain));
  REQUIRE(node_.taint.step() == Step::Read);
  CHECK(node_.taint.request({"https://a", "t"}).method == "GET");
  CHECK_FALSE(node_.replied(node(kTheirs + "," + kOurs + "," + kTheirs + "," + kOurs)));
  REQUIRE(node_.taint.step() == Step::Remove);
  const Json patch = *parse_json(node_.taint.request({"https://a", "t"}).body);
  REQUIRE(patch.size() == 4);
  CHECK(patch[0]["path"] == "/spec/taints/3/key");
  CHECK(patch[0]["value"] == kKey);
  CHECK(patch[1]["op"] == "remove");
  CHECK(patch[1]["path"] == "/spec/taints/3");
  CHECK(patch[3]["path"] == "/spec/taints/1");
  CHECK(node_.replied(node(kTheirs + "," + kTheirs))->what == What::Removed);
  CHECK(node_.taint.step() == Step::Done);
  CHECK(node_.taint.due() == kNever);
}

TEST_CASE("an upstream that is dead keeps the taint, and is told once") {
  Node node_;
  CHECK(node_.answered(kServFail)->what == What::Failed);
  CHECK_FALSE(node_.answered(kServFail));
  CHECK(node_.answered(std::nullopt)->what == What::Failed);
  CHECK(node_.taint.step() == Step::Ask);
  CHECK(node_.taint.due() == node_.now + StartupTaint::kAgain);
}

TEST_CASE("a node without the taint is left alone") {
  Node node_;
  node_.answered(0);
  CHECK(node_.replied(node(kTheirs))->what == What::Absent);
  CHECK(node_.taint.step() == Step::Done);
}

TEST_CASE("taints that changed in between are read again at once; other failures begin with the question again") {
  Node node_;
  node_.answered(0);
  node_.replied(node(kOurs));
  CHECK_FALSE(node_.replied(refused(422)));
  CHECK(node_.taint.step() == Step::Read);
  node_.replied(node(kTheirs + "," + kOurs));
  CHECK((*parse_json(node_.taint.request({}).body))[1]["path"] == "/spec/taints/1");
  CHECK(node_.replied(refused(403))->what == What::Failed);
  CHECK(node_.taint.step() == Step::Ask);
  CHECK(node_.taint.due() > node_.now);
  node_.answered(0);
  CHECK_FALSE(node_.replied(refused(403)));  // the same again
  node_.answered(0);
  CHECK(node_.replied({.status = 0, .headers = {}, .body = {}, .error = "connection refused"})->text ==
        "connection refused");
}

TEST_CASE("the probe is a new name below the domain, and knows its answer") {
  std::array<std::uint8_t, NameProbe::kRandom> random{};
  random.fill(0xa1);
  const NameProbe probe("cluster.local", random);
  CHECK(probe.name() == "a1a1a1a1a1a1a1a1a1a1a1a1.cluster.local");
  ByteBuffer answer(probe.query().begin(), probe.query().end());
  CHECK_FALSE(probe.rcode_of(answer));  // a query
  answer[2] |= 0x80;
  answer[3] = kNxDomain;
  CHECK(probe.rcode_of(answer) == kNxDomain);
  answer[13] ^= 0x20;  // case: RFC 4343
  CHECK(probe.rcode_of(answer) == kNxDomain);
  answer[14] = 'x';
  CHECK_FALSE(probe.rcode_of(answer));
  answer.resize(11);
  CHECK_FALSE(probe.rcode_of(answer));
  CHECK(NameProbe(".", random).name() == "a1a1a1a1a1a1a1a1a1a1a1a1");
  CHECK(NameProbe(std::string(250, 'a'), random).query().empty());
}
