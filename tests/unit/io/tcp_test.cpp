#include "agent/io/tcp.h"

#include <functional>
#include <vector>

#include <netinet/in.h>
#include <sys/resource.h>

#include "tests/support/catch.h"

using namespace lastlight;
using namespace lastlight::io;

namespace {

FileDescriptor dial(const Endpoint& to) {
  FileDescriptor fd(::socket(to.address.is_v6() ? AF_INET6 : AF_INET, SOCK_STREAM, 0));
  sockaddr_storage address{};
  const socklen_t length = to.to_sockaddr(address);
  REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), length) == 0);
  return fd;
}

// Turns the loop until `done` holds; a watchdog makes a failure of what would be a hang.
template <class Done>
void turn_until(Loop& loop, Done done) {
  bool late = false;
  Timer watchdog(loop, [&] { late = true; });
  watchdog.start_in(std::chrono::seconds(10));
  while (!done() && !late)
    loop.run_once();
  REQUIRE(done());
}

struct Pair {
  Loop loop;
  TcpConnection::Limits limits{.idle = std::chrono::seconds(30),
                               .message = std::chrono::seconds(30),
                               .write = std::chrono::seconds(30),
                               .max_queued = 1 << 20};
  std::unique_ptr<TcpListener> listener;
  std::unique_ptr<TcpConnection> connection;
  ByteBuffer got;
  bool wanted = true;
  bool half_closed = false;
  std::optional<TcpConnection::Closed> closed;

  FileDescriptor open(const char* address = "127.0.0.1") {
    auto made = TcpListener::listen(loop, *Endpoint::parse(address, 0), [this](FileDescriptor fd, const Endpoint&) {
      connection =
          std::make_unique<TcpConnection>(loop, std::move(fd), limits,
                                          TcpConnection::Calls{.received =
                                                                   [this](ByteView bytes) {
                                                                     got.insert(got.end(), bytes.begin(), bytes.end());
                                                                     return wanted;
                                                                   },
                                                               .half_closed = [this] { half_closed = true; },
                                                               .closed =
                                                                   [this](TcpConnection::Closed why) {
                                                                     closed = why;
                                                                     connection.reset();
                                                                   }});
    });
    REQUIRE(made);
    listener = std::move(*made);
    FileDescriptor client = dial(listener->local());
    turn_until(loop, [&] { return connection != nullptr; });
    return client;
  }
};

}  // namespace

TEST_CASE("bytes go both ways, and a half-closed peer still gets its answer", "[tcp]") {
  Pair p;
  const FileDescriptor client = p.open(GENERATE("127.0.0.1", "::1"));
  REQUIRE(::send(client.get(), "question", 8, 0) == 8);
  REQUIRE(::shutdown(client.get(), SHUT_WR) == 0);
  turn_until(p.loop, [&] { return p.half_closed; });
  CHECK(p.got.size() == 8);
  CHECK_FALSE(p.closed);
  p.connection->write(p.got);
  p.connection->finish();
  turn_until(p.loop, [&] { return p.closed.has_value(); });
  CHECK(*p.closed == TcpConnection::Closed::Finished);
  char answer[16];
  CHECK(::recv(client.get(), answer, sizeof answer, MSG_WAITALL) == 8);
}

TEST_CASE("a peer that does not read is closed at the bound", "[tcp]") {
  Pair p;
  const FileDescriptor client = p.open();
  const ByteBuffer chunk(64 * 1024);
  std::size_t most = 0;
  for (int i = 0; i < 1000 && !p.closed; ++i) {
    p.connection->write(chunk);
    most = std::max(most, p.connection->queued());
    if (i == 999) break;
  }
  turn_until(p.loop, [&] { return p.closed.has_value(); });
  CHECK(*p.closed == TcpConnection::Closed::Slow);
  CHECK(most <= p.limits.max_queued);
}

TEST_CASE("RFC 7766 s6.2.3: a connection that is owed an answer is not idle; once it has it, it may be", "[tcp]") {
  Pair p;
  p.limits.idle = std::chrono::milliseconds(20);
  const FileDescriptor client = p.open();
  p.connection->owe(true);
  bool later = false;
  Timer timer(p.loop, [&] { later = true; });
  timer.start_in(std::chrono::milliseconds(60));
  turn_until(p.loop, [&] { return later || p.closed; });
  REQUIRE_FALSE(p.closed);
  p.connection->owe(false);
  turn_until(p.loop, [&] { return p.closed.has_value(); });
  CHECK(*p.closed == TcpConnection::Closed::Idle);
}

TEST_CASE("a message that does not end in time closes, though octets keep coming", "[tcp]") {
  Pair p;
  p.limits.message = std::chrono::milliseconds(60);
  const FileDescriptor client = p.open();
  std::function<void()> trickle;
  Timer timer(p.loop, [&] { trickle(); });
  trickle = [&] {
    ::send(client.get(), "x", 1, MSG_NOSIGNAL);
    timer.start_in(std::chrono::milliseconds(5));
  };
  trickle();
  p.connection->await_rest(true);
  turn_until(p.loop, [&] { return p.closed.has_value(); });
  CHECK(*p.closed == TcpConnection::Closed::Unfinished);
  CHECK(p.got.size() > 1);
}

TEST_CASE("the time in which we do not read is not the peer's", "[tcp]") {
  Pair p;
  p.limits.message = std::chrono::milliseconds(20);
  const FileDescriptor client = p.open();
  p.connection->await_rest(true);
  p.connection->pause_reading(true);
  bool later = false;
  Timer timer(p.loop, [&] { later = true; });
  timer.start_in(std::chrono::milliseconds(60));
  turn_until(p.loop, [&] { return later || p.closed; });
  REQUIRE_FALSE(p.closed);
  p.connection->pause_reading(false);
  turn_until(p.loop, [&] { return p.closed.has_value(); });
  CHECK(*p.closed == TcpConnection::Closed::Unfinished);
}

TEST_CASE("a peer that reads nothing of what waits is closed, under the bound too, and whatever it sends", "[tcp]") {
  Pair p;
  p.limits.write = std::chrono::milliseconds(40);
  p.limits.max_queued = 16U << 20;
  const FileDescriptor client = p.open();
  while (p.connection->queued() < 8U << 20)  // more than the kernel keeps for the peer
    p.connection->write(ByteBuffer(64 * 1024));
  std::function<void()> chatter;
  Timer timer(p.loop, [&] { chatter(); });
  chatter = [&] {
    ::send(client.get(), "x", 1, MSG_NOSIGNAL);
    timer.start_in(std::chrono::milliseconds(5));
  };
  chatter();
  turn_until(p.loop, [&] { return p.closed.has_value(); });
  CHECK(*p.closed == TcpConnection::Closed::Stalled);
}

TEST_CASE("silence closes, refused bytes close, a reset closes", "[tcp]") {
  SECTION("idle") {
    Pair p;
    p.limits.idle = std::chrono::milliseconds(20);
    const FileDescriptor client = p.open();
    turn_until(p.loop, [&] { return p.closed.has_value(); });
    CHECK(*p.closed == TcpConnection::Closed::Idle);
  }
  SECTION("refused") {
    Pair p;
    p.wanted = false;
    const FileDescriptor client = p.open();
    REQUIRE(::send(client.get(), "x", 1, 0) == 1);
    turn_until(p.loop, [&] { return p.closed.has_value(); });
    CHECK(*p.closed == TcpConnection::Closed::Refused);
  }
  SECTION("reset") {
    Pair p;
    {
      const FileDescriptor client = p.open();
      const linger at_once{.l_onoff = 1, .l_linger = 0};
      ::setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    turn_until(p.loop, [&] { return p.closed.has_value(); });
    CHECK(*p.closed == TcpConnection::Closed::Error);
  }
}

TEST_CASE("out of descriptors the listener rests, then takes the waiting peer", "[tcp]") {
  Pair p;
  const FileDescriptor client = p.open();
  const FileDescriptor next(::socket(AF_INET, SOCK_STREAM, 0));
  bool* gave_up = nullptr;
  Timer watchdog(p.loop, [&] { *gave_up = true; });
  std::vector<FileDescriptor> filling;
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  rlimit low = before;
  low.rlim_cur = 128;
  ::setrlimit(RLIMIT_NOFILE, &low);
  for (;;) {
    FileDescriptor fd(::dup(next.get()));
    if (!fd) break;
    filling.push_back(std::move(fd));
  }
  TcpConnection* const first = p.connection.get();
  auto kept = std::move(p.connection);
  sockaddr_storage address{};
  const socklen_t length = p.listener->local().to_sockaddr(address);
  // No assertion until descriptors are back: UBSan opens a pipe to check a pointer.
  const bool connected = ::connect(next.get(), reinterpret_cast<sockaddr*>(&address), length) == 0;
  bool late = false;
  watchdog.start_in(std::chrono::seconds(10));
  for (gave_up = &late; p.listener->rests() == 0 && !late;)
    p.loop.run_once();
  const bool refused = p.connection == nullptr;
  filling.clear();
  ::setrlimit(RLIMIT_NOFILE, &before);
  REQUIRE(connected);
  CHECK_FALSE(late);
  CHECK(refused);
  turn_until(p.loop, [&] { return p.connection != nullptr; });
  CHECK(p.connection.get() != first);
  CHECK(p.listener->rests() < 10);
}
