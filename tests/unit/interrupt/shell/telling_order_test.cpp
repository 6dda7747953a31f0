// A notice's consequences, in the order in which they leave: the drain's own calls, then those who are told. What a
// drain's own Events wait for is in tests/scenarios/order_test.cpp.
#include "interrupt/controller.h"
#include "interrupt/messenger.h"

#include "tests/support/catch.h"
#include "tests/unit/io/turn.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace std::chrono_literals;

namespace {

io::HttpClient::Resolve no_names() {
  return [](const std::string& host, io::HttpClient::Resolved done) {
    FAIL_CHECK("looked up " << host);
    done({});
  };
}

Config nobody_listens() {
  Config config;
  config.node_name = "node-a";
  config.interruption.source = InterruptionConfig::Source::Aws;
  config.interruption.metadata_url = "http://127.0.0.1:1";
  config.drain.state_file = "";
  return config;
}

}  // namespace

TEST_CASE("the cordon and the watch are asked for before anybody hears of a notice, and no Event beside them") {
  io::Loop loop;
  const Config config = nobody_listens();
  io::HttpClient metadata(loop, no_names()), api(loop, no_names());
  std::optional<std::uint64_t> asked;
  Controller controller(loop, config, "http://127.0.0.1:1", metadata, api,
                        {.noticed = [&](const Notice&, Treatment) { asked = api.counters().requests; },
                         .withdrawn = [](const Withdrawn&) {},
                         .fact = [](const Fact&) {},
                         .diagnosis = [](Diagnosis) {},
                         .found = [](const Found&) {},
                         .checked = [](const std::vector<std::string>&) {}});
  REQUIRE(controller.announce(NoticeKind::SpotTerminate, 60s) == Treatment::Drain);
  CHECK(asked == 2);
  CHECK(api.counters().requests == 2);
}

TEST_CASE("webhooks and commands hear in a later turn of the loop, when the calls of this one have left") {
  io::Loop loop;
  Config config = nobody_listens();
  config.hooks.webhooks = {{.name = "sink", .url = "http://127.0.0.1:1", .url_file = {}, .headers = {}}};
  config.hooks.commands = {{.file = "told"}};
  std::size_t started = 0, failed = 0;
  Messenger messenger(loop, config, no_names(),
                      {.pods = [] { return PodCounts{}; },
                       .hold = [](std::optional<Instant>) {},
                       .start = [&](std::uint64_t, const CommandOrder&) -> std::optional<std::string> {
                         ++started;
                         return std::nullopt;
                       },
                       .failed = [&](const std::string&, Phase, const std::string&) { ++failed; }});
  Notice notice;
  notice.id = "n";
  notice.deadline = loop.now() + 60s;
  messenger.on_notice(notice);
  messenger.on_fact({.kind = Fact::Kind::Started, .at = loop.now(), .subject = "node-a", .text = "n"});
  CHECK(started == 0);
  CHECK(test::turn_until(loop, [&] { return started > 0 && failed > 0; }));  // the sink refuses the connection
}
