#include "dnscache/upstream_sockets.h"

#include <cerrno>
#include <string>

#include "tests/unit/dnsshell/dns_peer.h"

using namespace lastlight;
using namespace lastlight::dns::upstream_sockets;
using namespace lastlight::test;

namespace {

io::UdpSocket bound() {
  return std::move(io::UdpSocket::bind(*Endpoint::parse("127.0.0.1", 0), kib(256)).value());
}

io::FileDescriptor connected_to(const Endpoint& to) {
  io::FileDescriptor fd(dns::upstream_sockets::open(AF_INET, SOCK_DGRAM, 0));
  sockaddr_storage address{};
  const socklen_t size = to.to_sockaddr(address);
  REQUIRE(::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  return fd;
}

void put(Outbox& outbox, ByteBuffer octets) {
  const std::size_t half = octets.size() / 2;
  const iovec parts[] = {{octets.data(), half}, {octets.data() + half, octets.size() - half}};
  REQUIRE(outbox.put(parts, 2) == static_cast<ssize_t>(octets.size()));
}

}  // namespace

TEST_CASE("what was gathered leaves at once, in its order, each a datagram", "[upstream_sockets]") {
  const auto peer = bound();
  const auto fd = connected_to(peer.local());
  Outbox outbox;
  for (std::size_t i = 0; i < Outbox::kMost; ++i)
    put(outbox, question("n" + std::to_string(i)));
  CHECK(outbox.full());
  REQUIRE(outbox.flush(fd.get()) == 0);
  CHECK(outbox.empty());
  io::UdpReceiver receiver;
  REQUIRE(receiver.receive(peer.fd()).value() == Outbox::kMost);
  for (std::size_t i = 0; i < Outbox::kMost; ++i) {
    const ByteView got = receiver.datagram(i);
    CHECK(ByteBuffer(got.begin(), got.end()) == question("n" + std::to_string(i)));
  }
}

TEST_CASE("a refusal is told by the flush after it, and nothing stays", "[upstream_sockets]") {
  Endpoint nobody;
  {
    nobody = bound().local();
  }
  const auto fd = connected_to(nobody);
  Outbox outbox;
  put(outbox, question("first"));
  CHECK(outbox.flush(fd.get()) == 0);
  put(outbox, question("second"));
  CHECK(outbox.flush(fd.get()) == ECONNREFUSED);
  CHECK(outbox.empty());
}

TEST_CASE("RFC 5452 s9.1: of what one read brought, what cannot be an answer is passed over", "[upstream_sockets]") {
  const auto peer = bound();
  const auto fd = connected_to(peer.local());
  sockaddr_storage name{};
  socklen_t size = sizeof name;
  REQUIRE(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size) == 0);
  io::UdpSender sender;
  for (const ByteBuffer& each : {reply_to(question("a")), question("b"), reply_to(question("c"))}) {
    std::ranges::copy(each, sender.slot().begin());
    sender.queue(each.size(), *Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&name)));
  }
  REQUIRE(sender.flush(peer.fd()).sent == 3);

  Inbox inbox;
  std::array<std::uint8_t, 512> into{};
  const auto read = [&] {
    sockaddr_storage from{};
    socklen_t from_size = sizeof from;
    const ssize_t got =
        inbox.datagram(fd.get(), into.data(), into.size(), reinterpret_cast<sockaddr*>(&from), &from_size, 1);
    if (got >= 0) CHECK(Endpoint::from_sockaddr(reinterpret_cast<sockaddr*>(&from)) == peer.local());
    return got < 0 ? std::string() : std::string(1, static_cast<char>(into[13]));
  };
  CHECK(read().empty());  // not before begin()
  inbox.begin(fd.get());
  CHECK(read() == "a");
  CHECK(inbox.left() == 2);
  CHECK(read() == "c");
  CHECK(inbox.left() == 0);
  CHECK(read().empty());
  CHECK(errno == EAGAIN);
  inbox.begin(fd.get(), ECONNREFUSED);
  CHECK(read().empty());
  CHECK(errno == ECONNREFUSED);
  CHECK(read().empty());
  CHECK(errno == EAGAIN);
  inbox.closed(fd.get());
  CHECK(inbox.left() == 0);
}

TEST_CASE("a stream is read once, handed over in any pieces, and its end is told", "[upstream_sockets]") {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
  const io::FileDescriptor ours(pair[0]);
  io::FileDescriptor theirs(pair[1]);
  REQUIRE(::send(theirs.get(), "abcdef", 6, 0) == 6);
  Inbox inbox;
  inbox.begin(ours.get());
  std::array<char, 4> into{};
  CHECK(inbox.stream(ours.get(), into.data(), 4) == 4);
  REQUIRE(::send(theirs.get(), "g", 1, 0) == 1);  // not seen before the next begin()
  CHECK(inbox.stream(ours.get(), into.data(), 4) == 2);
  CHECK(inbox.stream(ours.get(), into.data(), 4) == -1);
  inbox.begin(ours.get());
  CHECK(inbox.stream(ours.get(), into.data(), 4) == 1);
  CHECK(into[0] == 'g');
  theirs = {};
  inbox.begin(ours.get());
  CHECK(inbox.stream(ours.get(), into.data(), 4) == 0);
}
