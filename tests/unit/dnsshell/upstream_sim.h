// Upstreams in virtual time, for scenarios of UpstreamPool: each answers a question after a time that the scenario
// gives, over TCP strictly in order or as answers become ready, over UDP always the latter; it can fall silent, refuse,
// or lose its connections. Behind its address there may be several backends: a channel is pinned to one when it is
// opened, and each can go, with a word (RST, port unreachable) or without. The pool is driven exactly as the transport
// drives it; every question's end is recorded.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "dnscache/upstream_pool.h"

#include "tests/support/catch.h"

namespace lastlight::test {

using namespace std::chrono_literals;
using namespace lastlight::dns;

class UpstreamSim {
 public:
  enum class Backend : std::uint8_t { Serves, Refuses, Silent };
  struct Server {
    std::vector<Backend> backends{Backend::Serves};
    std::size_t rules = 1;        // new channels go to one of the last so many of them
    Duration round_trip = 200us;  // of a connection's coming about
    bool in_order = true;
    bool silent = false;
    bool refuses = false;
    bool udp_truncates = false;
    double loss = 0;  // of UDP questions
    std::function<Duration(FlightId)> takes = [](FlightId) { return Duration(1ms); };
    std::size_t questions = 0;
    std::size_t udp_questions = 0;
    std::size_t most_connections = 0;
  };
  struct End {
    Duration after{};
    std::optional<Failure> why;  // none: answered
  };
  struct Connection {
    Endpoint to;
    Protocol protocol = Protocol::Udp;
    std::size_t backend = 0;
    Instant busy_until{};
    bool dead = false;     // it has stopped working, without a word
    bool refused = false;  // or with one
    std::set<SendId> open;
  };

  explicit UpstreamSim(std::vector<Endpoint> upstreams, Protocol protocol = Protocol::Udp, std::uint64_t seed = 7)
      : random_(seed), pool(config, [this] { return static_cast<std::uint16_t>(random_()); }) {
    pool.set_upstreams(0, std::move(upstreams), protocol, Guard::Auto);
  }
  UpstreamSim(const UpstreamSim&) = delete;
  UpstreamSim& operator=(const UpstreamSim&) = delete;

  void at(Instant when, std::function<void()> what) { events_.emplace(when, std::move(what)); }
  void ask(FlightId id, std::uint32_t zone = 0) {
    began_[id] = now;
    pool.start(id, zone, now, orders_);
    carry_out();
  }
  // `count` questions, evenly spaced from now on.
  void load(FlightId first, std::size_t count, Duration apart, std::uint32_t zone = 0) {
    for (std::size_t i = 0; i < count; ++i)
      at(now + apart * static_cast<int>(i), [this, id = first + i, zone] { ask(id, zone); });
  }
  // The same, each somewhere within its share of the time: nothing that the pool does coincides with it.
  void uneven_load(FlightId first, std::size_t count, Duration apart) {
    for (std::size_t i = 0; i < count; ++i) {
      const Duration later(std::uniform_int_distribution<Duration::rep>(0, apart.count() - 1)(random_));
      at(now + apart * static_cast<int>(i) + later, [this, id = first + i] { ask(id); });
    }
  }
  void run_until(Instant end) {
    for (;;) {
      const Instant timer = pool.next_deadline();
      const Instant event = events_.empty() ? kNever : events_.begin()->first;
      const Instant next = std::min(timer, event);
      if (next > end) break;
      now = std::max(now, next);
      if (event <= timer) {
        auto what = std::move(events_.begin()->second);
        events_.erase(events_.begin());
        what();
      } else {
        pool.on_time(now, orders_);
        REQUIRE(++turns_ < 5'000'000);  // a pool that never rests
      }
      carry_out();
    }
    now = end;
  }
  // The connections there are stop working: with a word (RST), or without.
  void kill_connections(const Endpoint& of, bool silently, double share = 1) {
    std::vector<SendId> broken;
    for (auto& [id, connection] : connections) {
      if (connection.to != of || std::uniform_real_distribution<>(0, 1)(random_) >= share) continue;
      (silently ? connection.dead : connection.refused) = true;
      if (!silently) broken.insert(broken.end(), connection.open.begin(), connection.open.end());
    }
    for (const SendId send : broken)
      pool.on_failure(send, Failure::Network, now, orders_);
    carry_out();
  }
  // Names the backends anew: `count` of them, and the rules have all.
  void set_backends(const Endpoint& of, std::size_t count) {
    servers[of].backends.assign(count, Backend::Serves);
    servers[of].rules = count;
  }
  // A backend goes; its connections break when it says so.
  void kill_backend(const Endpoint& of, std::size_t backend, Backend how) {
    servers[of].backends.at(backend) = how;
    std::vector<SendId> broken;
    for (const auto& [id, connection] : connections) {
      if (connection.to == of && connection.backend == backend && how == Backend::Refuses)
        broken.insert(broken.end(), connection.open.begin(), connection.open.end());
    }
    for (const SendId send : broken)
      pool.on_failure(send, Failure::Network, now, orders_);
    carry_out();
  }
  std::size_t ended_badly(FlightId before = ~FlightId{0}) const {
    return static_cast<std::size_t>(std::ranges::count_if(
        ends, [before](const auto& end) { return end.first < before && end.second.why.has_value(); }));
  }
  Duration slowest(FlightId from, FlightId to) const {
    Duration most{};
    for (auto end = ends.lower_bound(from); end != ends.end() && end->first < to; ++end)
      most = std::max(most, end->second.after);
    return most;
  }

  DnsConfig config;
  std::map<Endpoint, Server> servers;
  std::map<ChannelId, Connection> connections;
  std::map<FlightId, End> ends;
  Instant now{std::chrono::hours(1)};

 private:
  std::mt19937_64 random_;

 public:
  UpstreamPool pool;

 private:
  void end(FlightId id, std::optional<Failure> why) {
    CHECK_FALSE(ends.contains(id));  // each is told exactly once
    ends[id] = {now - began_.at(id), why};
  }
  void carry_out() {
    while (!orders_.empty()) {
      for (const UpstreamPool::Order& order : std::exchange(orders_, {})) {
        if (const auto* send = std::get_if<UpstreamPool::Send>(&order)) carry(*send);
        if (const auto* close = std::get_if<UpstreamPool::Close>(&order)) connections.erase(close->channel);
        if (const auto* finish = std::get_if<UpstreamPool::Finish>(&order)) end(finish->flight, finish->why);
      }
    }
  }
  void carry(const UpstreamPool::Send& send) {
    Server& server = servers[send.to];
    const bool fresh = !connections.contains(send.channel);
    Connection& on = connections[send.channel];
    on.to = send.to;
    on.protocol = send.protocol;
    const bool tcp = send.protocol == Protocol::Tcp;
    if (fresh) {
      on.backend = server.backends.size() - 1 - random_() % server.rules;
      on.busy_until = tcp ? now + server.round_trip : now;
    }
    const Backend backend = server.backends[on.backend];
    if (fresh && tcp && backend == Backend::Serves && !server.refuses)
      at(on.busy_until, [this, channel = send.channel] { pool.on_connected(channel); });
    on.open.insert(send.id);
    ++server.questions;
    if (!tcp) ++server.udp_questions;
    server.most_connections = std::max(server.most_connections,
                                       static_cast<std::size_t>(std::ranges::count_if(connections, [&](const auto& c) {
                                         return c.second.to == send.to && c.second.protocol == Protocol::Tcp;
                                       })));
    at(now + config.query_timeout, [this, send] { fail(send, Failure::Timeout); });
    if (server.refuses || on.refused || backend == Backend::Refuses)
      return at(now, [this, send] { fail(send, Failure::Network); });
    const bool lost = !tcp && std::uniform_real_distribution<>(0, 1)(random_) < server.loss;
    if (server.silent || on.dead || lost || backend == Backend::Silent) return;
    const Instant begins = tcp && (fresh || server.in_order) ? std::max(now, on.busy_until) : now;
    const Instant answered = begins + server.takes(send.flight);
    on.busy_until = answered;
    at(answered, [this, send] { answer(send); });
  }
  bool over(const UpstreamPool::Send& send) {
    const auto on = connections.find(send.channel);
    return on == connections.end() || on->second.open.erase(send.id) == 0;
  }
  void fail(const UpstreamPool::Send& send, Failure why) {
    if (!over(send)) pool.on_failure(send.id, why, now, orders_);
  }
  void answer(const UpstreamPool::Send& send) {
    const auto on = connections.find(send.channel);
    if (on == connections.end() || on->second.dead || servers[send.to].silent || over(send)) return;
    if (servers[send.to].backends[on->second.backend] != Backend::Serves) return;
    const bool truncated = send.protocol == Protocol::Udp && servers[send.to].udp_truncates;
    const auto flight =
        pool.on_reply(send.id, truncated ? UpstreamPool::Reply::Truncated : UpstreamPool::Reply::Whole, now, orders_);
    if (flight) end(*flight, std::nullopt);
  }

  std::multimap<Instant, std::function<void()>> events_;
  std::map<FlightId, Instant> began_;
  UpstreamPool::Orders orders_;
  std::size_t turns_ = 0;
};

}  // namespace lastlight::test
