// Every cell of {cloud} x {kind} x {fault} for the pure sources, and a day of a hostile service, in virtual time.
#include <map>

#include <malloc.h>

#include "interrupt/sources/make.h"

#include "tests/scenarios/metadata_service.h"
#include "tests/support/catch.h"
#include "tests/support/random.h"
#include "tests/support/sanitized.h"

using namespace lastlight;
using namespace lastlight::interrupt;
using namespace lastlight::scenarios;

namespace {

const std::map<std::string, std::vector<NoticeKind>>& kinds() {
  static const std::map<std::string, std::vector<NoticeKind>> all = {
      {"aws",
       {NoticeKind::SpotTerminate, NoticeKind::SpotStop, NoticeKind::SpotHibernate, NoticeKind::Rebalance,
        NoticeKind::AsgTerminate, NoticeKind::Reboot, NoticeKind::Maintenance}},
      {"gcp", {NoticeKind::Preempt, NoticeKind::LiveMigration, NoticeKind::Maintenance}},
      {"azure",
       {NoticeKind::Preempt, NoticeKind::Terminate, NoticeKind::Reboot, NoticeKind::Redeploy, NoticeKind::Freeze}}};
  return all;
}

InterruptionConfig config_of(const std::string& cloud) {
  InterruptionConfig config;
  config.source = cloud == "aws"   ? InterruptionConfig::Source::Aws
                  : cloud == "gcp" ? InterruptionConfig::Source::Gcp
                                   : InterruptionConfig::Source::Azure;
  return config;
}

}  // namespace

TEST_CASE("every cloud, kind and fault: nothing before, the announcement once, its end after") {
  constexpr Instant kStart{1000s};
  unsigned cells = 0;
  for (const auto& [cloud, of_cloud] : kinds()) {
    for (const NoticeKind kind : of_cloud) {
      for (std::size_t i = 0; i < kFaults; ++i) {
        const auto fault = static_cast<Fault>(i);
        INFO(cloud << " " << kind_name(kind) << " fault " << i);
        const auto source = make_source(config_of(cloud), [] { return 0.5; });
        MetadataService service(cloud);
        service.announced = kind;
        service.from = kStart + 60s;
        service.until = kStart + 200s;
        if (fault == Fault::Skew) service.skew = 2h;  // not a matter of weather
        service.fault = [&](Instant now) {
          const bool ill = (fault != Fault::Skew && now >= kStart + 20s && now < kStart + 70s) ||
                           (fault != Fault::Lies && now >= kStart + 150s && now < kStart + 160s);
          return ill ? fault : Fault::None;
        };
        Clockwork clock(*source, service, kStart);
        clock.run(kStart + 60s);
        CHECK(clock.events.empty());
        // What hung ends by its time-out, one back-off, and AWS's slow items take their turn.
        clock.run(kStart + 70s + 6s + 2s + 20s + 5s);
        REQUIRE(clock.events.size() == 1);
        REQUIRE(std::holds_alternative<Notice>(clock.events[0]));
        const Notice notice = std::get<Notice>(clock.events[0]);
        CHECK(notice.kind == kind);
        CHECK(notice.source == cloud);
        CHECK(notice.heard >= service.from);
        if (fault == Fault::None && cloud == "gcp") CHECK(notice.heard - service.from <= 10ms);
        if (fault == Fault::None && cloud == "azure") CHECK(notice.heard - service.from <= 1100ms);
        if (fault == Fault::None && kind == NoticeKind::SpotTerminate) CHECK(notice.heard - service.from <= 1100ms);
        clock.run(kStart + 200s);
        CHECK(clock.events.size() == 1);
        clock.run(kStart + 290s);
        REQUIRE(clock.events.size() == 2);
        REQUIRE(std::holds_alternative<Withdrawn>(clock.events[1]));
        CHECK(std::get<Withdrawn>(clock.events[1]).id == notice.id);
        CHECK(clock.most_in_flight <= Source::kLanes);
        CHECK_FALSE(clock.stopped);
        ++cells;
      }
    }
  }
  std::printf("%u cells of cloud, kind and fault in virtual time\n", cells);
  CHECK(cells == 15 * kFaults);
}

TEST_CASE("a day of a hostile service: no end, no false notice, two requests at most, flat memory; then a true one") {
  auto random = test::seeded_random("metadata");
  for (const auto& [cloud, of_cloud] : kinds()) {
    const NoticeKind kind = of_cloud[std::uniform_int_distribution<std::size_t>(0, of_cloud.size() - 1)(random)];
    {
      const auto source = make_source(config_of(cloud), [&] { return std::uniform_real_distribution<>(0, 1)(random); });
      MetadataService service(cloud);
      Fault now_is = Fault::None;
      Instant changes{};
      service.fault = [&](Instant now) {
        if (now >= changes) {  // weather of a second to two minutes
          now_is = static_cast<Fault>(std::uniform_int_distribution<std::size_t>(0, kFaults - 1)(random));
          changes = now + std::chrono::seconds(std::uniform_int_distribution<>(1, 120)(random));
        }
        return now_is;
      };
      Clockwork clock(*source, service, Instant(1h));
      clock.run(Instant(3h));
      const std::size_t before = ::mallinfo2().uordblks;
      clock.run(Instant(25h));
      INFO(cloud << ", then " << kind_name(kind));
      if (!test::kSanitized) CHECK(::mallinfo2().uordblks <= before + 16'384);
      CHECK(clock.events.empty());
      CHECK_FALSE(clock.stopped);
      CHECK(clock.most_in_flight <= 2);
      CHECK(source->counters().polls_ok > 1000);
      CHECK(source->counters().polls_failed > 1000);
      service.fault = [](Instant) { return Fault::None; };
      service.announced = kind;
      service.from = clock.now;
      clock.run(clock.now + 40s);
      REQUIRE(clock.events.size() == 1);
      CHECK(std::get<Notice>(clock.events[0]).kind == kind);
    }
  }
}
