// A node in virtual time: clients, a forwarder and one upstream whose behaviour is a function. Everything that is to
// happen stands in one queue, so that ten minutes of an outage take a moment.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dnscache/forwarder.h"

#include "tests/unit/dnscache/messages.h"

namespace lastlight::dns::test {

using Millis = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;

// The name of a message's question, in presentation form.
inline std::string name_of(ByteView message) {
  std::string out;
  for (std::size_t at = kHeaderSize; at < message.size() && message[at] != 0; at += message[at] + std::size_t{1}) {
    if (!out.empty()) out += '.';
    out.append(reinterpret_cast<const char*>(message.data()) + at + 1, message[at]);
  }
  return out;
}
inline std::uint16_t type_of(ByteView message) {
  std::size_t at = kHeaderSize;
  while (message[at] != 0)
    at += message[at] + std::size_t{1};
  return load16(message, at + 1);
}

inline ByteBuffer edns_question(std::string_view name, std::uint16_t type = kTypeA, std::uint16_t id = 1) {
  return MessageBuilder(id, kRd).question(name, type).opt(1232).octets;
}
inline MessageBuilder reply_to(ByteView query, std::uint16_t rcode = kNoError) {
  return MessageBuilder(0, static_cast<std::uint16_t>(kQr | kRa | kRd | rcode))
      .question(name_of(query), type_of(query));
}

inline Client pod(std::uint32_t address) {
  Client out;
  out.peer = {IpAddress::v4(0x0A000000 + address), 4000};
  return out;
}

struct World {
  struct Reply {
    ByteBuffer message;
    Duration after{};
    std::optional<Endpoint> from = std::nullopt;
  };
  // None: silence.
  using Upstream = std::function<std::optional<Reply>(ByteView query, Instant now)>;
  struct Answer {
    Parsed parsed;
    ByteBuffer message;
    Duration waited{};
  };
  using Got = std::function<void(const Answer&)>;

  World(const DnsConfig& config, Upstream behaviour)
      : forwarder(config, 42), upstream(std::move(behaviour)), query_timeout(config.query_timeout) {}

  void at(Instant when, std::function<void()> what) { events_.emplace(when, std::move(what)); }

  void ask(const ByteBuffer& query, const Client& from, Got got) {
    Client to = from;
    to.connection = ++last_;
    const auto outcome = forwarder.on_query(query, to, now, out_);
    if (outcome.size > 0) {
      const ByteBuffer message(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(outcome.size));
      got({parse(message), message, Duration{0}});
    } else {
      waiting_.emplace(to.connection, std::make_pair(now, std::move(got)));
    }
    if (outcome.ask) send(*outcome.ask);
  }

  // Until nothing happens before `end`, which is now then.
  void run_until(Instant end) {
    for (;;) {
      const Instant next = std::min(events_.empty() ? kNever : events_.begin()->first, forwarder.next_deadline());
      if (next > end) break;
      now = std::max(now, next);
      if (forwarder.next_deadline() <= now) deliver(forwarder.on_time(now));
      while (const auto more = forwarder.next_ask(now))
        send(*more);
      while (!events_.empty() && events_.begin()->first <= now) {
        auto node = events_.extract(events_.begin());
        node.mapped()();
      }
    }
    now = end;
  }
  std::size_t unanswered() const { return waiting_.size(); }

  Forwarder forwarder;
  Upstream upstream;
  Duration query_timeout;
  Instant now{std::chrono::hours(1)};
  std::uint64_t asked = 0;
  std::map<std::string, int> asked_for;

 private:
  void send(const Ask& ask) {
    ++asked;
    ++asked_for[name_of(ask.query)];
    auto reply = upstream(ask.query, now);
    at(now + (reply ? reply->after : query_timeout), [this, flight = ask.flight, reply = std::move(reply)] {
      deliver(reply ? forwarder.on_reply(flight, reply->message, now, reply->from)
                    : forwarder.on_failure(flight, Failure::Timeout, now));
    });
  }
  void deliver(std::span<const Delivery> deliveries) {
    for (const Delivery& delivery : deliveries) {
      const auto waiting = waiting_.extract(delivery.to.connection);
      if (waiting.empty()) throw std::logic_error("answered twice");
      waiting.mapped().second({parse(delivery.message), delivery.message, now - waiting.mapped().first});
    }
  }

  std::multimap<Instant, std::function<void()>> events_;
  std::map<std::uint64_t, std::pair<Instant, Got>> waiting_;
  std::uint64_t last_ = 0;
  ByteBuffer out_ = ByteBuffer(65535);
};

}  // namespace lastlight::dns::test
