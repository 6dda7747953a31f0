#include "dnscache/server.h"

#include <algorithm>
#include <deque>
#include <functional>

#include "tests/unit/dnsshell/dns_peer.h"

using namespace lastlight;
using namespace lastlight::dns;
using namespace lastlight::test;

namespace {

// Answers names that begin with 'h' at once; the others are asked for and wait in `waiting`.
struct Bench {
  io::Loop loop;
  DnsConfig config;
  std::vector<Client> waiting;
  std::vector<ByteBuffer> asked;
  std::unique_ptr<Server> server;
  Endpoint at;
  bool drop_all = false;

  void serve(const char* address = "127.0.0.1") {
    server = std::make_unique<Server>(
        loop, config,
        [this](ByteView query, const Client& client, Instant, MutableByteView out) {
          REQUIRE(out.size() >= (client.transport == Transport::Tcp ? 65535 : 4096));
          if (drop_all || query.empty()) return Forwarder::Outcome{.size = 0, .ask = std::nullopt, .dropped = true};
          if (query.size() > 13 && query[13] == 'h') {
            const ByteBuffer r = reply_to(query);
            std::copy(r.begin(), r.end(), out.begin());
            return Forwarder::Outcome{.size = r.size(), .ask = std::nullopt};
          }
          waiting.push_back(client);
          return Forwarder::Outcome{.size = 0, .ask = Ask{.flight = waiting.size(), .zone = 0, .query = query}};
        },
        [this](const Ask& ask) { asked.emplace_back(ask.query.begin(), ask.query.end()); });
    auto listened = server->listen(*Endpoint::parse(address, 0));
    REQUIRE(listened);
    at = *listened;
  }
  io::FileDescriptor dial() const {
    io::FileDescriptor fd(::socket(at.address.is_v6() ? AF_INET6 : AF_INET, SOCK_STREAM, 0));
    sockaddr_storage address{};
    const socklen_t length = at.to_sockaddr(address);
    REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
    return fd;
  }
  template <class Done>
  void until(Done done) {
    turn_until(loop, done);
  }
};

void put(const io::FileDescriptor& fd, const ByteBuffer& message) {
  ByteBuffer frame = {static_cast<std::uint8_t>(message.size() >> 8), static_cast<std::uint8_t>(message.size())};
  frame.insert(frame.end(), message.begin(), message.end());
  REQUIRE(::send(fd.get(), frame.data(), frame.size(), 0) == static_cast<ssize_t>(frame.size()));
}

ByteBuffer take(const io::FileDescriptor& fd) {
  std::uint8_t prefix[2];
  if (::recv(fd.get(), prefix, 2, MSG_WAITALL) != 2) return {};
  ByteBuffer m(static_cast<std::size_t>(prefix[0] << 8 | prefix[1]));
  REQUIRE(::recv(fd.get(), m.data(), m.size(), MSG_WAITALL) == static_cast<ssize_t>(m.size()));
  return m;
}

}  // namespace

TEST_CASE("UDP: hits are answered at once, misses asked and delivered", "[server]") {
  Bench b;
  b.serve(GENERATE("127.0.0.1", "::1"));
  const auto client = io::UdpSocket::bind(Endpoint{b.at.address, 0}, kib(512));
  REQUIRE(client);
  io::UdpSender sender;
  for (int i = 0; i < 60; ++i) {
    const ByteBuffer q = question(i % 2 == 0 ? "hit" : "miss");
    std::copy(q.begin(), q.end(), sender.slot().begin());
    sender.queue(q.size(), b.at);
  }
  sender.flush(client->fd());
  b.until([&] { return b.server->counters().udp_answers == 30 && b.waiting.size() == 30; });
  CHECK(b.asked.size() == 30);
  CHECK(b.asked[0] == question("miss"));
  std::vector<Delivery> deliveries;
  for (int round = 0; round < 3; ++round) {  // more than a batch
    for (const Client& c : b.waiting)
      deliveries.push_back({c, reply_to(question("miss"))});
  }
  b.server->deliver(deliveries);
  b.until([&] { return b.server->counters().udp_answers == 120; });
  CHECK(b.server->counters().udp_unsent == 0);
  io::UdpReceiver receiver;
  std::size_t got = 0;
  while (const auto count = receiver.receive(client->fd()).value_or(0)) {
    for (std::size_t i = 0; i < count; ++i)
      CHECK(receiver.peer(i) == b.at);
    got += count;
  }
  CHECK(got == 120);
}

TEST_CASE("RFC 8906 s3: of an oversize datagram what fits is answered, and it is counted", "[server]") {
  Bench b;
  b.serve();
  const auto client = io::UdpSocket::bind(Endpoint{b.at.address, 0}, kib(512));
  ByteBuffer big = question("hit");
  big.resize(5000);
  sockaddr_storage to{};
  const socklen_t length = b.at.to_sockaddr(to);
  REQUIRE(::sendto(client->fd(), big.data(), big.size(), 0, reinterpret_cast<sockaddr*>(&to), length) == 5000);
  b.until([&] { return b.server->counters().udp_answers == 1; });
  CHECK(b.server->counters().udp_oversize == 1);
  CHECK(b.server->counters().udp_queries == 1);
}

TEST_CASE("RFC 7766 s6.2.1.1, s6.2.4: several queries per connection, answered as they become ready, half-closed too",
          "[server]") {
  Bench b;
  b.serve();
  const auto fd = b.dial();
  put(fd, question("miss"));
  put(fd, question("hit"));
  ::shutdown(fd.get(), SHUT_WR);
  b.until([&] { return b.server->counters().tcp_queries == 2; });
  CHECK(take(fd) == reply_to(question("hit")));
  const std::vector<Delivery> late = {{b.waiting.at(0), reply_to(question("miss"))}};
  b.server->deliver(late);
  CHECK(take(fd) == reply_to(question("miss")));
  b.until([&] { return b.server->counters().tcp_open == 0; });
  CHECK(take(fd).empty());
  b.server->deliver(late);
  CHECK(b.server->counters().tcp_gone == 1);
}

TEST_CASE("RFC 7766 s6.2.2, s6.2.3, s10: caps, malformed frames, idle connections, messages without end", "[server]") {
  Bench b;
  b.config.tcp_max_per_client = 2;
  SECTION("per client") {
    b.serve();
    const auto one = b.dial();
    auto two = std::make_optional(b.dial());
    const auto three = b.dial();
    b.until([&] { return b.server->counters().tcp_refused_client == 1; });
    CHECK(take(three).empty());
    two.reset();
    b.until([&] { return b.server->counters().tcp_open == 1; });
    const auto four = b.dial();
    b.until([&] { return b.server->counters().tcp_open == 2; });
  }
  SECTION("in all") {
    b.config.tcp_max_connections = 1;
    b.serve();
    const auto one = b.dial();
    const auto two = b.dial();
    b.until([&] { return b.server->counters().tcp_refused_full == 1; });
    CHECK(b.server->counters().tcp_open == 1);
  }
  SECTION("malformed") {
    b.serve();
    const auto one = b.dial();
    put(one, {1, 2, 3});
    b.until([&] { return b.server->counters().tcp_malformed == 1 && b.server->counters().tcp_open == 0; });
  }
  SECTION("idle") {
    b.config.tcp_idle_timeout = 20ms;
    b.serve();
    const auto one = b.dial();
    b.until([&] { return b.server->counters().tcp_idle == 1; });
  }
  SECTION("in the midst of a message") {
    b.config.tcp_message_timeout = 20ms;
    b.serve();
    const auto one = b.dial();
    REQUIRE(::send(one.get(), "\0\x20half", 6, 0) == 6);
    b.until([&] { return b.server->counters().tcp_unfinished == 1; });
  }
  SECTION("each message has its time, however many come") {
    b.config.tcp_message_timeout = 1s;  // all together take longer; one of them, on a busy machine, does not
    b.serve();
    const auto one = b.dial();
    const ByteBuffer query = question("h");
    ByteBuffer stream;
    for (int i = 0; i < 60; ++i) {  // cut so that the end of each message comes with the start of the next
      stream.push_back(0);
      stream.push_back(static_cast<std::uint8_t>(query.size()));
      stream.insert(stream.end(), query.begin(), query.end());
    }
    std::size_t at = 0;
    std::function<void()> next;
    io::Timer timer(b.loop, [&] { next(); });
    next = [&] {
      const std::size_t size = std::min(query.size() + 2, stream.size() - at);
      REQUIRE(::send(one.get(), stream.data() + at, at == 0 ? 5 : size, MSG_NOSIGNAL) > 0);
      at += at == 0 ? 5 : size;
      if (at < stream.size()) timer.start_in(20ms);
    };
    next();
    b.until([&] { return b.server->counters().tcp_queries == 60; });
    CHECK(b.server->counters().tcp_unfinished == 0);
  }
}

TEST_CASE("RFC 7766 s6.2.3: whoever waits for an answer is not idle", "[server]") {
  Bench b;
  b.config.tcp_idle_timeout = 20ms;
  b.serve();
  const auto fd = b.dial();
  put(fd, question("miss"));
  b.until([&] { return b.waiting.size() == 1; });
  bool later = false;
  io::Timer timer(b.loop, [&] { later = true; });
  timer.start_in(60ms);
  b.until([&] { return later; });
  b.server->deliver(std::vector<Delivery>{{b.waiting[0], reply_to(question("miss"))}});
  CHECK(take(fd) == reply_to(question("miss")));
  b.until([&] { return b.server->counters().tcp_idle == 1; });
}

TEST_CASE("TCP: a message that is dropped is not waited for", "[server]") {
  Bench b;
  b.drop_all = true;
  b.config.tcp_idle_timeout = 20ms;
  b.serve();
  const auto fd = b.dial();
  put(fd, question("miss"));
  b.until([&] { return b.server->counters().tcp_idle == 1; });
}

TEST_CASE("TCP: what all clients may hold of our memory is bounded, and whoever wants more is closed", "[server]") {
  Bench b;
  b.config.tcp_buffers = kib(100);
  b.serve();
  std::vector<io::FileDescriptor> clients;
  const ByteBuffer half(40 * 1024, 0xFF);  // of a message of 65,535 octets
  for (std::uint64_t i = 0; i < 3; ++i) {
    clients.push_back(b.dial());
    REQUIRE(::send(clients.back().get(), half.data(), half.size(), 0) == static_cast<ssize_t>(half.size()));
    b.until([&] { return b.server->counters().tcp_buffered >= std::min<std::uint64_t>(i + 1, 2) * half.size(); });
  }
  b.until([&] { return b.server->counters().tcp_no_room == 1 && b.server->counters().tcp_open == 2; });
  CHECK(b.server->counters().tcp_buffered == 2 * half.size());
  clients.erase(clients.begin());
  b.until([&] { return b.server->counters().tcp_buffered == half.size(); });
  clients.push_back(b.dial());
  put(clients.back(), question("hit"));
  std::uint64_t answered = 0;
  b.until([&] { return (answered = b.server->counters().tcp_answers) == 1; });
}

TEST_CASE("UDP: a datagram of no octets is dropped like any other that is short, and the next is served", "[server]") {
  Bench b;
  b.serve();
  io::FileDescriptor fd(::socket(AF_INET, SOCK_DGRAM, 0));
  sockaddr_storage address{};
  const socklen_t length = b.at.to_sockaddr(address);
  REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
  REQUIRE(::send(fd.get(), "", 0, 0) == 0);
  const ByteBuffer query = question("hit");
  REQUIRE(::send(fd.get(), query.data(), query.size(), 0) == static_cast<ssize_t>(query.size()));
  b.until([&] { return b.server->counters().udp_answers == 1; });
  CHECK(b.server->counters().udp_queries == 2);
}

TEST_CASE("TCP: a client with too many unanswered queries is not read until it is answered", "[server]") {
  Bench b;
  b.serve();
  const auto fd = b.dial();
  // More than one read of the server's, so that it must stop between reads.
  std::string label(60, 'm');
  for (int i = 0; i < 1000; ++i)
    put(fd, question(label));
  b.until([&] { return b.waiting.size() >= 100; });
  for (int i = 0; i < 5; ++i) {
    io::Timer turn(b.loop, [] {});
    turn.start_in(1ms);
    b.loop.run_once();
  }
  const std::size_t read = b.waiting.size();
  CHECK(read < 400);
  for (std::size_t i = 0; i < b.waiting.size(); ++i) {
    b.server->deliver(std::vector<Delivery>{{b.waiting[i], reply_to(question(label))}});
    if (i + 1 == b.waiting.size() && i < 999) b.until([&] { return b.waiting.size() > i + 1; });
  }
  CHECK(b.waiting.size() == 1000);
}

TEST_CASE("after stop_reading nothing is read, but what waits is delivered", "[server]") {
  Bench b;
  b.serve();
  const auto fd = b.dial();
  put(fd, question("miss"));
  b.until([&] { return b.waiting.size() == 1; });
  b.server->stop_reading();
  put(fd, question("hit"));
  io::Timer turn(b.loop, [] {});
  turn.start_in(5ms);
  b.loop.run_once();
  CHECK(b.server->counters().tcp_queries == 1);
  b.server->deliver(std::vector<Delivery>{{b.waiting[0], reply_to(question("miss"))}});
  CHECK(take(fd) == reply_to(question("miss")));
  CHECK(b.server->counters().tcp_queries == 1);
}

TEST_CASE("stop_reading answers the datagrams that have arrived", "[server]") {
  Bench b;
  b.serve();
  const auto client = io::UdpSocket::bind(Endpoint{b.at.address, 0}, kib(512));
  REQUIRE(client);
  io::UdpSender sender;
  const ByteBuffer query = question("hit");
  for (std::size_t i = 0; i < 3 * io::UdpSender::kBatch; ++i) {
    std::copy(query.begin(), query.end(), sender.slot().begin());
    sender.queue(query.size(), b.at);
    if (sender.full()) sender.flush(client->fd());
  }
  b.server->stop_reading();
  CHECK(b.server->counters().udp_answers == 3 * io::UdpSender::kBatch);
}

TEST_CASE("a connection whose client does not read is unsent until it does", "[server]") {
  Bench b;
  b.serve();
  const auto fd = b.dial();
  put(fd, question("miss"));
  b.until([&] { return b.waiting.size() == 1; });
  CHECK(b.server->unsent() == 0);
  const ByteBuffer large(60'000, 7);
  int sent = 0;
  for (; b.server->unsent() == 0 && sent < 1000; ++sent)
    b.server->deliver(std::vector<Delivery>{{b.waiting[0], large}});
  REQUIRE(b.server->unsent() == 1);
  b.server->stop_reading();
  int received = 0;
  ByteBuffer buffer(1 << 16);
  std::size_t bytes = 0;
  b.until([&] {
    const ssize_t size = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    bytes += size > 0 ? static_cast<std::size_t>(size) : 0;
    received = static_cast<int>(bytes / (large.size() + 2));
    return received == sent;
  });
  CHECK(b.server->unsent() == 0);
}
