#include "dnscache/upstream_pool.h"

#include <ranges>

#include "tests/support/random.h"
#include "tests/unit/dnsshell/upstream_sim.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::test;

namespace {
const Endpoint kFirst = *Endpoint::parse("192.0.2.1", 53);
const Endpoint kSecond = *Endpoint::parse("192.0.2.2", 53);
}  // namespace

TEST_CASE("a zone without upstreams answers at once", "[upstream_pool]") {
  UpstreamSim sim({});
  sim.ask(1);
  sim.ask(2, 7);
  CHECK(sim.ends.at(1).why == Failure::NoUpstream);
  CHECK(sim.ends.at(2).why == Failure::NoUpstream);
  CHECK(sim.pool.flights() == 0);
}

TEST_CASE("the first upstream is asked, once, and its reply ends the flight", "[upstream_pool]") {
  UpstreamSim sim({kFirst, kSecond});
  sim.ask(1);
  sim.run_until(sim.now + 1s);
  CHECK_FALSE(sim.ends.at(1).why);
  CHECK(sim.servers[kFirst].questions == 1);
  CHECK(sim.servers[kSecond].questions == 0);
  CHECK(sim.pool.flights() == 0);
  sim.run_until(sim.now + 1min);
  CHECK(sim.connections.empty());  // nothing is kept for nobody
  CHECK(sim.pool.next_deadline() == kNever);
}

TEST_CASE("silence: at most three attempts, then the flight ends with its life", "[upstream_pool]") {
  const Protocol protocol = GENERATE(Protocol::Udp, Protocol::Tcp);
  UpstreamSim sim({kFirst}, protocol);
  sim.servers[kFirst].silent = true;
  sim.ask(1);
  sim.run_until(sim.now + 6s);
  CHECK(sim.ends.at(1).why == Failure::Timeout);
  CHECK(sim.ends.at(1).after == 5s);
  CHECK(sim.servers[kFirst].questions == 3);
}

TEST_CASE("an upstream that refuses is given up at once, and found again by a probe", "[upstream_pool]") {
  UpstreamSim sim({kFirst, kSecond});
  sim.servers[kFirst].refuses = true;
  sim.load(1, 200, 10ms);
  sim.run_until(sim.now + 3s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.slowest(1, 201) <= 1ms);
  CHECK_FALSE(sim.pool.healthy(kFirst));
  CHECK(sim.servers[kFirst].questions <= 8);  // two to learn it, then probes
  sim.servers[kFirst].refuses = false;
  sim.load(201, 500, 20ms);
  sim.run_until(sim.now + 10s);
  CHECK(sim.pool.healthy(kFirst));
  CHECK(sim.pool.counters().breaker_opened == 1);
}

TEST_CASE("a late reply to an earlier attempt is still the answer", "[upstream_pool]") {
  UpstreamSim sim({kFirst});
  sim.servers[kFirst].takes = [](FlightId) { return 3s; };
  sim.ask(1);
  sim.run_until(sim.now + 6s);
  CHECK_FALSE(sim.ends.at(1).why);
  CHECK(sim.ends.at(1).after == 3s);
}

TEST_CASE("truncation over UDP asks the same upstream over TCP, once; over TCP it ends the flight", "[upstream_pool]") {
  UpstreamSim sim({kFirst, kSecond});
  sim.servers[kFirst].udp_truncates = true;
  sim.ask(1);
  sim.run_until(sim.now + 1s);
  CHECK_FALSE(sim.ends.at(1).why);
  CHECK(sim.servers[kFirst].questions == 2);
  CHECK(sim.servers[kFirst].udp_questions == 1);
  CHECK(sim.pool.counters().tcp_fallbacks == 1);

  UpstreamPool::Orders out;
  UpstreamPool pool({}, [] { return std::uint16_t{0}; });
  pool.set_upstreams(0, {kFirst}, Protocol::Tcp, Guard::Auto);
  pool.start(1, 0, sim.now, out);
  const auto send = std::get<UpstreamPool::Send>(out.at(0));
  CHECK_FALSE(pool.on_reply(send.id, UpstreamPool::Reply::Truncated, sim.now, out));
  CHECK(std::get<UpstreamPool::Finish>(out.at(1)).why == Failure::Truncated);
}

TEST_CASE("in order: one slow name in forty does not slow the others", "[upstream_pool]") {
  UpstreamSim sim({kFirst}, Protocol::Tcp);
  constexpr FlightId kSlow = 1'000'000;
  sim.servers[kFirst].takes = [](FlightId id) { return id >= kSlow ? Duration(2s) : Duration(500us); };
  sim.load(1, 1000, 500us);  // alone
  sim.run_until(sim.now + 2s);
  CHECK(sim.slowest(1, 1001) <= 2ms);
  const auto udp_before = sim.servers[kFirst].udp_questions;
  sim.load(10'000, 8000, 500us);
  sim.load(kSlow, 200, 20ms);
  sim.run_until(sim.now + 10s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.slowest(10'000, 18'000) <= 12ms);
  int over = 0;
  for (auto end = sim.ends.lower_bound(10'000); end->first < 18'000; ++end)
    over += end->second.after > 2ms;
  CHECK(over <= 8000 / 25);  // those that were behind a slow one before that could be known
  CHECK(sim.servers[kFirst].most_connections <= UpstreamChannels::kStrictTcp);
  CHECK(sim.servers[kFirst].udp_questions > udp_before);  // when all of them are busy with slow ones
  CHECK(sim.slowest(kSlow, kSlow + 200) <= 2500ms);
}

TEST_CASE("in order: a thousand at once neither queue up nor open a thousand connections", "[upstream_pool]") {
  UpstreamSim sim({kFirst}, Protocol::Tcp);
  sim.servers[kFirst].takes = [](FlightId) { return 20ms; };
  sim.load(1, 200, 30ms);
  sim.run_until(sim.now + 7s);
  const std::size_t before = sim.servers[kFirst].questions;
  sim.load(1001, 1000, 0ms);
  sim.run_until(sim.now + 1s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.slowest(1001, 2001) <= 60ms);
  CHECK(sim.servers[kFirst].most_connections <= UpstreamChannels::kStrictTcp);
  CHECK(sim.servers[kFirst].questions - before <= 1100);
}

TEST_CASE("out of order is learned, and four connections carry everything", "[upstream_pool]") {
  UpstreamSim sim({kFirst}, Protocol::Tcp);
  sim.servers[kFirst].in_order = false;
  sim.servers[kFirst].takes = [](FlightId id) { return Duration(id % 7 == 0 ? 30ms : 10ms); };
  sim.load(1, 9000, 1ms);
  sim.run_until(sim.now + 9s);
  CHECK_FALSE(sim.pool.view(sim.now).at(kFirst).in_order);
  CHECK(sim.pool.view(sim.now).at(kFirst).connections <= UpstreamChannels::kFreeTcp);  // the others were left idle
  CHECK(sim.ended_badly() == 0);
  sim.servers[kFirst].most_connections = 0;
  sim.servers[kFirst].udp_questions = 0;
  sim.load(10'001, 2000, 500us);
  sim.run_until(sim.now + 10s);
  CHECK(sim.servers[kFirst].most_connections <= UpstreamChannels::kFreeTcp);
  CHECK(sim.servers[kFirst].udp_questions == 0);
  CHECK(sim.slowest(10'001, 12'001) <= 60ms);
}

TEST_CASE("out of order is learned of answers that all take about as long", "[upstream_pool]") {
  UpstreamSim sim({kFirst}, Protocol::Tcp);
  sim.servers[kFirst].in_order = false;
  sim.servers[kFirst].takes = [](FlightId id) { return Duration(15ms) + id * 7919 % 97 % 10 * Duration(1ms); };
  sim.load(1, 5000, 2ms);
  sim.run_until(sim.now + 10s);
  CHECK_FALSE(sim.pool.view(sim.now).at(kFirst).in_order);
  CHECK(sim.pool.view(sim.now).at(kFirst).connections <= UpstreamChannels::kFreeTcp);
  CHECK(sim.ended_badly() == 0);
}

TEST_CASE("out of order: connections from before it was known close, and a thousand at once need no more than four",
          "[upstream_pool]") {
  const auto seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{3}));
  UpstreamSim sim({kFirst}, Protocol::Tcp, seed);
  sim.servers[kFirst].in_order = false;
  std::mt19937_64 random(seed);
  sim.servers[kFirst].takes = [&](FlightId) { return std::chrono::microseconds(10'000 + random() % 20'000); };
  const auto connections = [&] { return sim.pool.view(sim.now).at(kFirst).connections; };
  FlightId next = 1;
  while (sim.pool.view(sim.now).at(kFirst).in_order) {
    REQUIRE(next < 10'000);
    sim.load(next, 10, 2ms);
    sim.run_until(sim.now + 20ms);
    next += 10;
  }
  REQUIRE(connections() > UpstreamChannels::kFreeTcp);
  sim.load(next, 1000, 2ms);
  sim.run_until(sim.now + 1500ms);
  CHECK(connections() <= UpstreamChannels::kFreeTcp);
  sim.run_until(sim.now + 1s);
  sim.servers[kFirst].most_connections = 0;
  for (int round = 0; round < 150; ++round) {  // more on each connection than half of the IDs there are
    next += 1000;
    sim.load(next, 1000, 0ms);
    sim.run_until(sim.now + 30ms);
  }
  CHECK(sim.servers[kFirst].most_connections <= UpstreamChannels::kFreeTcp);
  CHECK(sim.servers[kFirst].udp_questions < 50);  // hedges
  sim.run_until(sim.now + 5s);
  CHECK(sim.ended_badly() == 0);
}

TEST_CASE("out of order: a connection that falls silent makes room for another", "[upstream_pool]") {
  UpstreamSim sim({kFirst}, Protocol::Tcp);
  sim.servers[kFirst].in_order = false;
  sim.servers[kFirst].takes = [](FlightId id) { return Duration(id % 7 == 0 ? 30ms : 10ms); };
  sim.load(1, 12'000, 1ms);
  sim.run_until(sim.now + 9s);
  REQUIRE(sim.pool.view(sim.now).at(kFirst).connections <= UpstreamChannels::kFreeTcp);
  sim.kill_connections(kFirst, true, 0.5);
  sim.run_until(sim.now + 10s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.slowest(1, 12'001) <= 500ms);
  CHECK(sim.pool.view(sim.now).at(kFirst).connections <= UpstreamChannels::kFreeTcp);
}

TEST_CASE("in order: nobody is put behind another for long to find out what is known", "[upstream_pool]") {
  const auto seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{5}));
  UpstreamSim sim({kFirst}, Protocol::Tcp, seed);
  constexpr FlightId kSlow = 1'000'000;
  std::mt19937_64 random(seed);
  sim.servers[kFirst].takes = [&](FlightId id) {
    return id >= kSlow ? Duration(2s) : Duration(std::chrono::microseconds(150 + random() % 300));
  };
  sim.load(1, 6000, 500us);
  sim.run_until(sim.now + 3s);
  sim.load(10'000, 20'000, 500us);
  sim.uneven_load(kSlow, 500, 20ms);
  sim.run_until(sim.now + 20s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.pool.view(sim.now).at(kFirst).in_order);
  CHECK(sim.pool.counters().moved <= 30);  // of 20,000, half of them in the first second
}

TEST_CASE("datagrams lost in a burst are asked again soon, however late the slow names have made the p99",
          "[upstream_pool]") {
  const auto seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{5}));
  const Protocol protocol = GENERATE(Protocol::Udp, Protocol::Tcp);
  UpstreamSim sim({kFirst}, protocol, seed);
  constexpr FlightId kSlow = 1'000'000;
  sim.servers[kFirst].takes = [](FlightId id) { return id >= kSlow ? Duration(2s) : Duration(300us); };
  sim.load(1, 20'000, 500us);
  sim.uneven_load(kSlow, 500, 20ms);
  sim.run_until(sim.now + 5s);
  REQUIRE(sim.pool.view(sim.now).at(kFirst).p99 > 1s);
  sim.servers[kFirst].loss = 1;  // a socket's buffer is full
  sim.run_until(sim.now + 100ms);
  sim.servers[kFirst].loss = 0;
  sim.run_until(sim.now + 15s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.slowest(1, 20'001) <= 850ms);  // 200 lost, of which the savings pay 50 and a quarter of 2,000/s the rest
  CHECK(sim.pool.counters().hedges_refused > 0);
}

TEST_CASE("slow names are asked twice, and a third time only while second attempts are of use", "[upstream_pool]") {
  UpstreamSim sim({kFirst});
  constexpr FlightId kSlow = 1'000'000;
  sim.servers[kFirst].takes = [](FlightId id) { return id >= kSlow ? Duration(1900ms) : Duration(300us); };
  sim.load(1, 24'000, 500us);
  sim.run_until(sim.now + 1s);
  sim.load(kSlow, 500, 20ms);
  sim.run_until(sim.now + 15s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.pool.counters().hedges >= 500);
  CHECK(sim.servers[kFirst].questions <= 24'000 + 2 * 500 + 120);  // until the first of them is answered, nobody knows
}

TEST_CASE("the slowest hundredth is hedged at the p99, within the budget", "[upstream_pool]") {
  UpstreamSim sim({kFirst, kSecond});
  sim.servers[kFirst].takes = [](FlightId id) { return Duration(id % 100 == 0 && id > 2000 ? 1s : 10ms); };
  sim.load(1, 2000, 5ms);
  sim.run_until(sim.now + 11s);
  CHECK(sim.pool.counters().hedges <= 25);
  sim.load(2001, 2000, 5ms);
  sim.run_until(sim.now + 11s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.slowest(2001, 4001) <= 40ms);
  CHECK(sim.pool.healthy(kFirst));
  SECTION("an upstream that is slow for all is not asked twice as much") {
    sim.servers[kFirst].takes = sim.servers[kSecond].takes = [](FlightId) { return 400ms; };
    const auto before = sim.servers[kFirst].questions + sim.servers[kSecond].questions;
    sim.load(10'001, 2000, 5ms);
    sim.run_until(sim.now + 11s);
    CHECK(sim.servers[kFirst].questions + sim.servers[kSecond].questions - before <= 2000 * 13 / 10 + 60);
    CHECK(sim.ended_badly() == 0);
  }
}

TEST_CASE("one of two upstreams falls silent: misses soon take no longer, and probes find it again",
          "[upstream_pool]") {
  const Protocol protocol = GENERATE(Protocol::Udp, Protocol::Tcp);
  UpstreamSim sim({kFirst, kSecond}, protocol);
  sim.load(1, 500, 2ms);
  sim.run_until(sim.now + 2s);
  sim.servers[kFirst].silent = true;
  sim.load(1001, 2000, 5ms);
  sim.run_until(sim.now + 15s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.slowest(1001, 3001) <= 20ms);
  CHECK_FALSE(sim.pool.healthy(kFirst));
  CHECK(sim.servers[kFirst].questions <= 500 + 80);
  sim.servers[kFirst].silent = false;
  sim.load(10'001, 1000, 10ms);
  sim.run_until(sim.now + 12s);
  CHECK(sim.pool.healthy(kFirst));
}

TEST_CASE("all silent for 45 s: no storm, and back within a second", "[upstream_pool]") {
  const Protocol protocol = GENERATE(Protocol::Udp, Protocol::Tcp);
  const bool refuses = GENERATE(false, true);
  UpstreamSim sim({kFirst}, protocol);
  sim.load(1, 500, 2ms);
  sim.run_until(sim.now + 2s);
  const auto before = sim.servers[kFirst].questions;
  (refuses ? sim.servers[kFirst].refuses : sim.servers[kFirst].silent) = true;
  sim.load(1001, 4500, 10ms);
  sim.run_until(sim.now + 45s);
  CHECK(sim.servers[kFirst].questions - before <= 300);
  CHECK(sim.pool.waiting() <= UpstreamPool::kMaxWaiting);
  sim.servers[kFirst].silent = sim.servers[kFirst].refuses = false;
  const Instant back = sim.now;
  sim.load(100'000, 300, 10ms);
  sim.run_until(back + 10s);
  CHECK(sim.pool.healthy(kFirst));
  CHECK(sim.slowest(100'100, 100'300) <= 20ms);  // those asked after the first second
  CHECK(sim.pool.flights() == 0);
}

TEST_CASE("a Service of three loses a backend: nobody waits long", "[upstream_pool]") {
  const bool silently = GENERATE(false, true);
  const Protocol protocol = GENERATE(Protocol::Udp, Protocol::Tcp);
  UpstreamSim sim({kFirst}, protocol);
  sim.load(1, 6000, 2ms);
  for (int i = 1; i < 10; ++i) {
    sim.run_until(sim.now + 1s);
    sim.kill_connections(kFirst, silently, 1.0 / 3);
  }
  sim.run_until(sim.now + 10s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.slowest(1, 6001) <= 500ms);
  CHECK(sim.pool.healthy(kFirst));
}

TEST_CASE("lost datagrams are asked again", "[upstream_pool]") {
  UpstreamSim sim({kFirst});
  sim.servers[kFirst].loss = 0.1;
  sim.load(1, 3000, 1ms);
  sim.run_until(sim.now + 10s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.servers[kFirst].questions <= 3750);
  CHECK(sim.slowest(1, 3001) <= 1s);
}

TEST_CASE("connections end after a minute, give or take a quarter, so that backends share the load anew",
          "[upstream_pool]") {
  const auto seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{5}));
  UpstreamSim sim({kFirst}, Protocol::Tcp, seed);
  std::map<ChannelId, Duration> ages;
  sim.load(1, 6000, 100ms);
  for (int i = 0; i < 600; ++i) {
    sim.run_until(sim.now + 1s);
    for (const auto& [id, connection] : sim.connections)
      ages[id] += 1s;
  }
  CHECK(sim.ended_badly() == 0);
  REQUIRE(ages.size() >= 8);
  REQUIRE(ages.size() <= 16);
  ages.erase(std::prev(ages.end()));  // it lives on
  const auto [least, most] = std::ranges::minmax(std::views::values(ages));
  CHECK(least >= 45s - 2s);  // idle ones are looked for once a second
  CHECK(most <= 75s + 2s);
  CHECK(most - least >= 5s);  // nodes that came together part
}

TEST_CASE("a connection that falls silent is given up in a time that the answers before have taught",
          "[upstream_pool]") {
  const bool in_order = GENERATE(true, false);
  const Duration takes = GENERATE(1ms, 30ms);
  UpstreamSim sim({kFirst}, Protocol::Tcp);
  sim.servers[kFirst].in_order = in_order;
  sim.servers[kFirst].takes = [&](FlightId id) { return id % 7 == 0 ? takes * 2 : takes; };
  sim.load(1, 15'000, 1ms);
  sim.run_until(sim.now + 9s + 500us);
  std::set<ChannelId> silent;  // and owe an answer
  for (const auto& [id, connection] : sim.connections) {
    if (!connection.open.empty()) silent.insert(id);
  }
  REQUIRE_FALSE(silent.empty());
  sim.kill_connections(kFirst, true);
  sim.run_until(sim.now + 1500ms);  // a turn of a quarter of a second, and they are looked for once a second
  for (const auto& [id, connection] : sim.connections)
    CHECK_FALSE((connection.protocol == Protocol::Tcp && silent.contains(id)));
  sim.run_until(sim.now + 10s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.slowest(1, 15'001) <= 500ms);
}

TEST_CASE("ports: eight at a time, none for much longer than its share of questions", "[upstream_pool]") {
  UpstreamSim sim({kFirst});
  std::set<ChannelId> seen;
  constexpr FlightId kQuestions = 15 * UpstreamChannels::kUdpQuestions;
  for (FlightId id = 1; id <= kQuestions; ++id) {
    sim.ask(id);
    sim.run_until(sim.now + 500us);  // in less than a port's age
    for (const auto& [channel, connection] : sim.connections)
      seen.insert(channel);
  }
  CHECK(seen.size() >= kQuestions * 4 / 5 / UpstreamChannels::kUdpQuestions);
  CHECK(seen.size() <= kQuestions * 5 / 3 / UpstreamChannels::kUdpQuestions + 8);
}

TEST_CASE("a guarded upstream gets its pace, nothing is lost without a word, and the metadata service comes first",
          "[upstream_pool]") {
  const Endpoint resolver = *Endpoint::parse("169.254.169.253", 53);
  const Protocol protocol = GENERATE(Protocol::Udp, Protocol::Tcp);
  UpstreamSim sim({resolver}, protocol);
  CHECK(sim.pool.view(sim.now).at(resolver).guarded);
  sim.load(1, 6000, 500us);  // 2000/s for three seconds
  std::vector<std::uint64_t> packets;
  for (int i = 0; i < 100; ++i) {
    sim.pool.metadata_packets(10, sim.now);
    sim.run_until(sim.now + 100ms);
    packets.push_back(sim.pool.pace_counters().packets + sim.pool.pace_counters().metadata_packets);
    if (packets.size() > 10) CHECK(packets.back() - packets[packets.size() - 11] <= 990);
  }
  CHECK(sim.ends.size() == 6000);  // each was answered or told
  CHECK(sim.pool.flights() == 0);
  const auto& counters = sim.pool.counters();
  CHECK(counters.paced > 0);
  CHECK(sim.ended_badly() >= counters.shed);
  CHECK(sim.servers[resolver].questions > (protocol == Protocol::Udp ? 3000 : 1200));
  CHECK(sim.pool.healthy(resolver));
}

TEST_CASE("random outages: every question ends exactly once, within its life", "[upstream_pool]") {
  const auto seed = seeded_random("upstream_pool outages")();
  UpstreamSim sim({kFirst, kSecond}, seed % 2 ? Protocol::Tcp : Protocol::Udp, seed);
  sim.load(1, 5000, 4ms);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 200; ++i) {
    for (const Endpoint& each : {kFirst, kSecond}) {
      auto& server = sim.servers[each];
      server.silent = random() % 4 == 0;
      server.refuses = random() % 5 == 0;
      server.udp_truncates = random() % 3 == 0;
      server.in_order = random() % 2 == 0;
      server.loss = static_cast<double>(random() % 30) / 100;
      server.takes = [slow = random() % 50](FlightId) { return std::chrono::milliseconds(slow * slow); };
      if (random() % 4 == 0) sim.kill_connections(each, random() % 2 == 0, 0.5);
    }
    sim.run_until(sim.now + 100ms);
  }
  sim.run_until(sim.now + 20s);
  CHECK(sim.ends.size() == 5000);
  CHECK(sim.slowest(1, 5001) <= 5s);
  CHECK(sim.pool.counters().attempts - sim.pool.counters().refused <= 3 * 5000);
  CHECK(sim.pool.counters().attempts <= (3 + UpstreamPool::kMaxRefused) * 5000);
  sim.run_until(sim.now + 2min);
  CHECK(sim.connections.empty());
  CHECK(sim.pool.next_deadline() == kNever);
}

TEST_CASE("a flood of names keeps no more channels than it uses", "[upstream_pool]") {
  UpstreamSim sim({kFirst});
  std::size_t most = 0;
  const auto count_udp = [&] {
    const auto udp = [](const auto& each) { return each.second.protocol == Protocol::Udp; };
    return static_cast<std::size_t>(std::ranges::count_if(sim.connections, udp));
  };
  const auto watch = [&](FlightId first) {
    sim.load(first, 20'000, 50us);  // 20,000 a second
    for (int tick = 0; tick < 1000; ++tick)
      sim.at(sim.now + tick * 1ms, [&] { most = std::max(most, count_udp()); });
    sim.run_until(sim.now + 10s);
  };
  SECTION("that are all answered") {
    watch(1);
    CHECK(most <= UpstreamChannels::kUdp + 2);
  }
  SECTION("of which one in twenty is slow") {
    sim.servers[kFirst].takes = [](FlightId id) { return id % 20 == 0 ? Duration(3s) : Duration(1ms); };
    watch(1);
    CHECK(most <= UpstreamChannels::kMostUdp);
    CHECK(most > UpstreamChannels::kUdp + 2);
  }
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.servers[kFirst].udp_questions >= 20'000);
}

TEST_CASE("an upstream that is about to go is asked last, and when no other answers", "[upstream_pool]") {
  UpstreamSim sim({kFirst, kSecond});
  sim.pool.avoid({kFirst.address});
  sim.load(1, 20, 10ms);
  sim.run_until(sim.now + 1s);
  CHECK(sim.servers[kFirst].questions == 0);
  CHECK(sim.servers[kSecond].questions == 20);
  sim.servers[kSecond].refuses = true;
  sim.load(100, 50, 10ms);
  sim.run_until(sim.now + 3s);
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.servers[kFirst].questions >= 50);
  sim.servers[kSecond].refuses = false;
  sim.pool.avoid({});
  sim.run_until(sim.now + 10s);
  const auto before = sim.servers[kSecond].questions;
  sim.load(200, 20, 10ms);
  sim.run_until(sim.now + 1s);
  CHECK(sim.servers[kSecond].questions <= before + 1);  // the probe
}

TEST_CASE("half the backends of one address refuse: each question finds one that answers", "[upstream_pool]") {
  const auto seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{9}));
  const Protocol protocol = GENERATE(Protocol::Udp, Protocol::Tcp);
  UpstreamSim sim({kFirst}, protocol, seed);
  sim.set_backends(kFirst, 2);
  sim.load(1, 100, 10ms);
  sim.run_until(sim.now + 1500ms);
  for (FlightId first = 1000; first < 6000; first += 1000) {
    sim.kill_backend(kFirst, 0, UpstreamSim::Backend::Refuses);
    sim.load(first, 100, 10ms);
    sim.run_until(sim.now + 1s);
    sim.servers[kFirst].rules = 1;  // no longer among the Service's endpoints
    sim.load(first + 500, 50, 10ms);
    sim.run_until(sim.now + 1s);
    sim.set_backends(kFirst, 2);
  }
  CHECK(sim.ended_badly() == 0);
  CHECK(sim.slowest(1, 6000) < 500ms);
}

namespace {

using Backend = UpstreamSim::Backend;

struct Rollout {
  std::uint64_t seed = 1;
  Protocol protocol = Protocol::Udp;
  Backend how = Backend::Silent;
  bool in_order = true;
  int rate = 200;     // a second
  bool slow = false;  // one name in twenty takes seconds
};

// Three backends of which two go. Most answers come from a cache, some from elsewhere.
void roll_out(const Rollout& of) {
  CAPTURE(of.seed, of.protocol, of.how, of.in_order, of.rate, of.slow);
  UpstreamSim sim({kFirst}, of.protocol, of.seed);
  sim.servers[kFirst].in_order = of.in_order;
  constexpr FlightId kSlow = 1'000'000;
  sim.servers[kFirst].takes = [](FlightId id) {
    return id >= kSlow ? Duration(2s) : Duration(id % 20 == 0 ? 12ms : 700us);
  };
  sim.set_backends(kFirst, 3);
  FlightId next = 1;
  const auto load_for = [&](Duration length) {
    const auto count = static_cast<std::size_t>(length / Duration(1s) * of.rate);
    sim.uneven_load(next, count, Duration(1s) / of.rate);
    if (of.slow) sim.uneven_load(kSlow + next, count / 20, 20 * Duration(1s) / of.rate);
    next += count;
    sim.run_until(sim.now + length);
  };
  load_for(10s);
  for (std::size_t backend = 0; backend < 2; ++backend) {
    sim.kill_backend(kFirst, backend, of.how);
    load_for(2s);
    --sim.servers[kFirst].rules;
    load_for(2s);
  }
  sim.run_until(sim.now + 10s);
  CHECK(sim.ended_badly(kSlow) == 0);
  // Three a second teach little: one question in thousands tries six dead backends before it finds the other half.
  CHECK(sim.slowest(1, next) < (of.rate > 3 ? 500ms : 1s));
  CHECK(sim.pool.healthy(kFirst));
  CHECK(sim.servers[kFirst].questions < next * (of.slow ? 13 : 11) / 10 + 20);
}

}  // namespace

TEST_CASE("a rollout of three backends behind one address, by RST and by silence: nobody waits 500 ms",
          "[upstream_pool]") {
  const auto seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{4}));
  const Protocol protocol = GENERATE(Protocol::Udp, Protocol::Tcp);
  const Backend how = GENERATE(Backend::Refuses, Backend::Silent);
  const bool in_order = GENERATE(true, false);
  const auto [rate, slow] =
      GENERATE(table<int, bool>({{1000, false}, {200, false}, {200, true}, {20, false}, {3, false}}));
  roll_out({seed, protocol, how, in_order, rate, slow});
}

TEST_CASE("a silent rollout while slow names have taken all connections and ports", "[upstream_pool]") {
  const auto seed = GENERATE(range(std::uint64_t{1}, std::uint64_t{31}));
  const bool in_order = GENERATE(true, false);
  roll_out({.seed = seed, .protocol = Protocol::Tcp, .in_order = in_order, .slow = true});
}
